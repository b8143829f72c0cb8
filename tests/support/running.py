"""Runs items through a model without an engine: all works of a phase in one step, in the order of their coming."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from blip_serve.domain import (
    AnyModel,
    Caption,
    Done,
    Failed,
    GenerateItem,
    GenerationOptions,
    ImageBytes,
    Item,
    MatchItem,
    Piece,
    Prepared,
    Progress,
    Score,
    ScoringProtocol,
    Work,
)
from blip_serve.models.sequences import BeamSearch

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


def writing(data: bytes, text: str = "", n: int = 1, protocol: ScoringProtocol = "hf", **options: Any) -> GenerateItem:
    """An item to be written about; `options` as `GenerationOptions` has them, and `stream`."""
    stream = options.pop("stream", False)
    return GenerateItem(image_bytes(data), Caption(text, "text"), n, GenerationOptions(**options), protocol, stream)


def generated_ids(prepared: Prepared) -> list[int]:
    """The tokens of a generated item's first text, the end included."""
    sequence = prepared.works[0].sequence  # type: ignore[attr-defined]  # a GenerateWork
    history = sequence.done[0].history if isinstance(sequence, BeamSearch) else sequence.history
    return list(history[len(sequence.prompt) :])


def run(model: AnyModel, *items: Item) -> list[list[Any]]:
    """The results of each item, computed together."""
    return run_prepared(model, [model.prepare(each) for each in items])


def run_prepared(
    model: AnyModel, prepared: Sequence[Prepared], on_piece: Callable[[Piece], None] = lambda piece: None
) -> list[list[Any]]:
    """The results of each prepared item, computed together."""
    waiting = [work for each in prepared for work in each.works]
    results: dict[Work, Any] = {}
    assert all(model.admit(work) for work in waiting)
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
            for piece in outcome.pieces:
                on_piece(piece)
        for work in waiting:
            if work in results:
                model.release(work)
        waiting = [work for work in waiting if work not in results]
    return [_ordered([numbered for work in each.works for numbered in results[work]]) for each in prepared]


def _ordered(numbered: list[tuple[int, Any]]) -> list[Any]:
    return [result for _, result in sorted(numbered, key=lambda pair: pair[0])]
