"""Runs items through a model without an engine: all works of a phase in one step, in the order of their coming."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from blip_serve.domain import (
    AnyModel,
    Caption,
    Done,
    Failed,
    ImageBytes,
    MatchItem,
    PairScore,
    Prepared,
    Progress,
    Score,
    ScoringProtocol,
    Work,
)

BOTH: frozenset[Score] = frozenset({"itm", "cosine"})


def image_bytes(data: bytes, param: str = "image") -> ImageBytes:
    """Bytes with their digest."""
    return ImageBytes(data, sha256(data).hexdigest(), param)


def item(
    data: bytes, captions: Sequence[str], protocol: ScoringProtocol = "hf", scores: frozenset[Score] = BOTH
) -> MatchItem:
    """An item of one image and some captions."""
    texts = tuple(Caption(text, f"captions[{i}]") for i, text in enumerate(captions))
    return MatchItem(image_bytes(data), texts, protocol, scores)


def run(model: AnyModel, *items: MatchItem) -> list[list[PairScore]]:
    """The scores of each item, computed together."""
    return run_prepared(model, [model.prepare(each) for each in items])


def run_prepared(model: AnyModel, prepared: Sequence[Prepared]) -> list[list[PairScore]]:
    """The scores of each prepared item, computed together."""
    waiting = [work for each in prepared for work in each.works]
    results: dict[Work, Any] = {}
    while waiting:
        step = [work for work in waiting if work.phase == waiting[0].phase]
        for work, outcome in zip(step, model.collect(model.launch(step)), strict=True):
            match outcome:
                case Progress(phase, cost):
                    work.phase, work.cost = phase, cost
                case Done(result):
                    results[work] = result
                case Failed(error):
                    raise error
        waiting = [work for work in waiting if work not in results]
    return [_ordered([pair for work in each.works for pair in results[work]]) for each in prepared]


def _ordered(numbered: list[tuple[int, PairScore]]) -> list[PairScore]:
    return [score for _, score in sorted(numbered, key=lambda pair: pair[0])]
