"""Runs items through a model without an engine. Each step takes all works of one phase, in order."""

from collections import deque
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
    Outcome,
    Piece,
    Prepared,
    Progress,
    ScoreName,
    ScoringProtocol,
    Work,
)
from blip_serve.models.sequences import BeamSearch

BOTH: frozenset[ScoreName] = frozenset({"itm", "cosine"})


def image_bytes(data: bytes, param: str = "image") -> ImageBytes:
    """Bytes with their digest."""
    return ImageBytes(data, sha256(data).hexdigest(), param)


def item(
    data: bytes, captions: Sequence[str], protocol: ScoringProtocol = "hf", scores: frozenset[ScoreName] = BOTH
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
    group = _Group(model, prepared, on_piece)
    while group.waiting:
        step = group.next_step()
        group.take(step, model.collect(model.launch(step)))
    return group.results()


def run_by_turns(model: AnyModel, *groups: Sequence[Prepared]) -> list[list[list[Any]]]:
    """The results of groups of prepared items, as from `run_prepared`. The groups' steps alternate.

    A group's step is collected when its turn comes again: all others have launched one meanwhile.
    """
    running = [_Group(model, prepared) for prepared in groups]
    flight: deque[tuple[_Group, list[Work], Any]] = deque()
    while flight or any(group.waiting for group in running):
        for group in running:
            if flight and flight[0][0] is group:
                _, step, launched = flight.popleft()
                group.take(step, model.collect(launched))
            if group.waiting:
                step = group.next_step()
                flight.append((group, step, model.launch(step)))
    return [group.results() for group in running]


class _Group:
    """Prepared items on their way through a model."""

    def __init__(
        self, model: AnyModel, prepared: Sequence[Prepared], on_piece: Callable[[Piece], None] = lambda piece: None
    ) -> None:
        self._model = model
        self._prepared = prepared
        self._on_piece = on_piece
        self._found: dict[Work, Any] = {}
        self.waiting = [work for each in prepared for work in each.works]
        assert all(model.admit(work) for work in self.waiting)

    def next_step(self) -> list[Work]:
        """All works that are in the phase of the first."""
        return [work for work in self.waiting if work.phase == self.waiting[0].phase]

    def take(self, step: Sequence[Work], outcomes: Sequence[Outcome]) -> None:
        """Lets a step's works go on or end."""
        for work, outcome in zip(step, outcomes, strict=True):
            match outcome:
                case Progress(phase, cost):
                    work.phase, work.cost = phase, cost
                case Done(result):
                    self._found[work] = result
                    self._model.release(work)
                case Failed(error):
                    raise error
            for piece in outcome.pieces:
                self._on_piece(piece)
        self.waiting = [work for work in self.waiting if work not in self._found]

    def results(self) -> list[list[Any]]:
        """Each item's, in order."""
        return [
            _ordered([numbered for work in each.works for numbered in self._found[work]]) for each in self._prepared
        ]


def _ordered(numbered: list[tuple[int, Any]]) -> list[Any]:
    return [result for _, result in sorted(numbered, key=lambda pair: pair[0])]
