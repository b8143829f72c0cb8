"""Runs evaluations by a model in this process, as the command does."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import AnyModel, ScoringProtocol
from blip_serve.jobs.evaluation.answering import Answering, Count
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.evaluation.evaluation import Evaluation, Measured
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.pictures import open_pictures
from blip_serve.settings import ImageSettings
from blip_serve.tasks.request import Request
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry
from tests.support.server import QUIET, always, fake_settings
from tests.support.waiting import wait_until

R = TypeVar("R")

PICTURES = EMBEDDED / "pictures"
SHOWN: dict[str, dict[str, str]] = json.loads((PICTURES / "pictures.json").read_text())
"""For each picture a caption that is true, and one that is wrong."""


@contextmanager
def _unseen(counted: str, total: int) -> Iterator[Count]:
    yield lambda count: None


def measured(
    evaluation: Evaluation, model: AnyModel, state: Path, protocol: ScoringProtocol = "paper", **given: Any
) -> tuple[Measured, list[Request[Any]]]:
    """What an evaluation finds, and what it asked. `state`: of its answers; `given`: settings."""
    asked: list[Request[Any]] = []

    async def run() -> Measured:
        async with (
            open_service(fake_settings(**given), Telemetry(QUIET), always(model)) as tasks,
            open_pictures(ImageSettings()) as pictures,
        ):
            await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())

            async def ask(request: Request[R], /) -> R:
                asked.append(request)
                return await tasks.run(request)

            with Answers(state) as answers:
                answers.agree(evaluation.described)
                return await evaluation.measure(Answering(ask, pictures, Serving(protocol=protocol), answers, _unseen))

    return asyncio.run(run()), asked


def written(path: Path, content: object) -> Path:
    """A file of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
