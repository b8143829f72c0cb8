"""A fresh process that loads a retrieval checkpoint and runs full steps: what was foretold of memory, what was seen.

`python -m tests.support.footprints FOLDER DTYPE` prints both as JSON, in bytes, less the process before the load.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blip_serve.allocator import keep_memory
from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caption, ImageBytes, MatchItem, Outcome, Progress
from blip_serve.images.decode import Decoder
from blip_serve.models.device import give_back
from blip_serve.models.footprint import footprint_of
from blip_serve.models.matcher import Matcher
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry
from tests.support.memory import peak, resident, start_peak
from tests.support.pictures import encoded, picture
from tests.support.server import QUIET

CAPTION = "a word{0} word1 word2 word3 word4 word5 word6 word7 word8 word9 word10 word11"
"""15 tokens, `[CLS]` and `[SEP]` included."""


def main(folder: str, dtype: str) -> None:
    """Loads, and takes a step on as many images as one may have, and one on as many captions."""
    keep_memory()
    settings = Settings(device="cpu", dtype=dtype, log=QUIET, catalogue=False)
    foretold = footprint_of(Matcher, Path(folder), settings)
    give_back()
    before = resident()
    model = Matcher.load(Path(folder), ModelCard("test"), settings, Decoder(settings.images), Telemetry(QUIET))
    run(model, [model.warm_up()])
    give_back()
    rest = resident() - before
    start_peak()
    most = settings.engine.max_step_cost
    images = most // model.prepare(MatchItem(image(0), (Caption("a", "caption"),))).works[0].cost
    run(model, [MatchItem(image(i), (Caption("a", "caption"),)) for i in range(images)])
    captions = tuple(Caption(CAPTION.format(i), "caption") for i in range(12, most + 12 - 8))
    run(model, [MatchItem(image(0), captions)])
    print(
        json.dumps(
            {
                "rest": {"foretold": foretold.weights, "seen": rest},
                "step": {"foretold": foretold.weights + foretold.step, "seen": peak() - before},
            }
        )
    )


def image(number: int) -> ImageBytes:
    """A drawn picture."""
    return ImageBytes(encoded(picture(number)), f"picture {number}", "image")


def run(model: Any, items: Sequence[Any], most: int = 320) -> None:
    """Runs the items' works to their ends, in steps that cost `most` at most, as the engine does."""
    waiting = [work for item in items for work in model.prepare(item).works]
    while waiting:
        step, room = [], most
        for work in waiting:
            if work.phase == waiting[0].phase and work.cost <= room:
                step.append(work)
                room -= work.cost
        outcomes: Sequence[Outcome] = model.collect(model.launch(step))
        going_on = []
        for work, outcome in zip(step, outcomes, strict=True):
            if isinstance(outcome, Progress):
                work.phase, work.cost = outcome.phase, outcome.cost
                going_on.append(work)
        waiting = [*(work for work in waiting if work not in step), *going_on]


if __name__ == "__main__":
    main(*sys.argv[1:])
