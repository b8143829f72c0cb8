"""The quick benchmark: what a model does on the device, without the service around it.

Only steps on the device are timed, not decoding and tokenizing. Every figure is the median of several rounds, after a
warm-up round. The device is synchronised before and after each round.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.checkpoints import checkpoint
from bench.machine import synchronise
from bench.pictures import Pictures
from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import AnyModel, Caption, Item, RankItem, Work
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.matcher import Matcher
from gpu.needs import ROOT
from tests.support.checkpoints import Kind
from tests.support.loading import load
from tests.support.running import image_bytes, item, run_prepared, writing

CACHE = ROOT / "build" / "gpu"
DEMO: dict[Kind, str] = {"retrieval": "demo-retrieval", "captioning": "demo-captioning", "answering": "demo-vqa"}
CLASSES: dict[Kind, Any] = {"retrieval": Matcher, "captioning": Captioner, "answering": Answerer}
ROUNDS, TOKENS = 5, 20
LARGE_STEP: dict[str, Any] = {"engine": {"max_step_cost": 65536, "max_sequences": 256}}
"""So that a row is one step a phase."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: `count` units in `ms`. `launching_ms`: the part of this time in which the host was launching."""

    name: str
    model: str
    count: int
    ms: float
    launching_ms: float

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.ms * 1000


class Timed:
    """A model that notes how long its launches take the host."""

    def __init__(self, model: AnyModel) -> None:
        self._model = model
        self.admit, self.release, self.collect = model.admit, model.release, model.collect
        self.launching = 0.0

    def launch(self, works: Sequence[Work]) -> Any:
        """The model's."""
        started = time.perf_counter()
        launched = self._model.launch(works)
        self.launching += time.perf_counter() - started
        return launched


def measure(on_card: bool, until: float) -> Iterator[Row]:
    """Measures until the time is `until`: base-size models on a card, the embedded checkpoints on a CPU."""
    device = "cuda" if on_card else "cpu"
    pictures = Pictures()
    for dtype in ("float16", "float32") if on_card else ("float32",):
        for kind, rows in ROWS.items():
            if time.monotonic() > until:
                print(f"no time is left for {kind} in {dtype}")
                return
            model = load(CLASSES[kind], _folder(kind, on_card), device=device, dtype=dtype, **LARGE_STEP)
            name = f"{'base' if on_card else 'demo'} {dtype}"
            yield from (row(model, name, device, pictures) for row in rows)
            del model
            if on_card:
                torch.cuda.empty_cache()


def _folder(kind: Kind, on_card: bool) -> Path:
    return checkpoint(CACHE, "base", kind) if on_card else EMBEDDED / DEMO[kind]


def _row(
    name: str,
    count: int,
    items: Callable[[Pictures], list[Item]],
    known: bool,
    model: Any,
    model_name: str,
    device: str,
    pictures: Pictures,
) -> Row:
    """Times `items`. `known`: each round has the same images, so they are cached; else they are new."""
    same = items(pictures) if known else None
    seconds, launching = [], []
    for _ in range(ROUNDS + 1):
        prepared = [model.prepare(each) for each in same or items(pictures)]
        timed = Timed(model)
        synchronise(device)
        started = time.perf_counter()
        run_prepared(timed, prepared)  # type: ignore[arg-type]  # it prepares nothing
        synchronise(device)
        seconds.append(time.perf_counter() - started)
        launching.append(timed.launching)
    ms, launching_ms = (1000 * statistics.median(each[1:]) for each in (seconds, launching))
    return Row(name, model_name, count, ms, launching_ms)


def _images(count: int, pictures: Pictures) -> list[Item]:
    return [item(data, ["a dog on a beach"], scores=frozenset({"cosine"})) for data in pictures.take(count)]


def _pairs(count: int, pictures: Pictures) -> list[Item]:
    captions = [f"a photo of {number} dogs and a woman on the beach" for number in range(count)]
    return [item(pictures.take(1)[0], captions)]


def _captions(count: int, pictures: Pictures, **options: Any) -> list[Item]:
    return [
        writing(data, min_tokens=TOKENS, max_tokens=TOKENS, **options)
        for data in pictures.take(1)
        for _ in range(count)
    ]


def _answers(count: int, pictures: Pictures) -> list[Item]:
    answers = tuple(Caption(f"{number} red dogs", "answers") for number in range(count))
    return [RankItem(image_bytes(pictures.take(1)[0]), Caption("what is it?", "question"), answers)]


ROWS: dict[Kind, list[Callable[..., Row]]] = {
    "retrieval": [
        partial(_row, "encode an image", 1, partial(_images, 1), False),
        partial(_row, "encode images", 64, partial(_images, 64), False),
        partial(_row, "match a caption with a known image", 1, partial(_pairs, 1), True),
        partial(_row, "match captions with a known image", 256, partial(_pairs, 256), True),
    ],
    "captioning": [
        partial(_row, f"write a caption of {TOKENS} tokens of a known image", 1, partial(_captions, 1), True),
        partial(_row, "the same by 3 beams", 1, partial(_captions, 1, num_beams=3), True),
        partial(_row, f"write captions of {TOKENS} tokens of known images", 64, partial(_captions, 64), True),
    ],
    "answering": [
        partial(_row, "rank answers to a question about a known image", 100, partial(_answers, 100), True),
    ],
}
