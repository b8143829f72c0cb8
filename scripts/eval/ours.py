"""`blip-serve eval retrieval` in this process, with its stages timed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blip_serve.in_process import DOWNLOAD_S, AsyncBlipServe
from blip_serve.jobs.evaluation.answering import Answering, Count
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.evaluation.evaluation import Measured
from blip_serve.jobs.evaluation.gallery import gallery
from blip_serve.jobs.evaluation.karpathy import read_entries
from blip_serve.jobs.evaluation.retrieval import Retrieval
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.pictures import open_pictures
from blip_serve.settings import LogSettings, ModelSettings, ServerSettings, Settings
from eval.clock import Clock, Taken
from eval.drawn import Drawn
from eval.official import Protocol


@dataclass(frozen=True)
class Ours:
    """What was measured, and what the whole and its stages took, without loading the model."""

    measured: Measured
    taken: Taken
    stages: dict[str, Taken]


def ours(folder: Path, drawn: Drawn, k: int, protocol: Protocol, state: Path) -> Ours:
    """Evaluates the checkpoint in `folder` in float32. `state`: a folder for the answers."""
    model = ModelSettings(id="eval/ours", source=str(folder), preload=True)
    settings = Settings(
        server=ServerSettings(request_timeout_s=DOWNLOAD_S),
        device="cpu",
        dtype="float32",
        catalogue=False,
        models=(model,),
        log=LogSettings(level="error"),
    )
    return asyncio.run(_ours(settings, drawn, k, protocol, state))


async def _ours(settings: Settings, drawn: Drawn, k: int, protocol: Protocol, state: Path) -> Ours:
    stages: dict[str, Taken] = {}

    @contextmanager
    def timed(stage: str, total: int) -> Iterator[Count]:
        clock = Clock()
        yield lambda count: None
        stages[stage] = clock.taken()

    entries = read_entries(drawn.annotations, None, "test")
    evaluation = Retrieval(gallery(entries, drawn.annotations.name), drawn.annotations.name, k)
    serving = Serving("eval/ours", protocol)
    async with AsyncBlipServe(settings) as blip, open_pictures(settings.images) as pictures:
        await blip.embed(texts="the model is loaded")
        with Answers(state) as answers:
            clock = Clock()
            measured = await evaluation.measure(Answering(blip.run, pictures, serving, answers, timed))
            return Ours(measured, clock.taken(), stages)
