"""Runs items through a model without an engine, as comparisons need it. Each step takes all works of one phase."""

from collections.abc import Callable, Sequence
from typing import Any

from blip_serve.domain import AnyModel, Done, Failed, Item, Outcome, Piece, Prepared, Progress, Work
from blip_serve.models.sequences import BeamSearch


def run(model: AnyModel, *items: Item) -> list[list[Any]]:
    """The results of each item, computed together. Raises the first error of a work."""
    return run_prepared(model, [model.prepare(each) for each in items])


def run_prepared(
    model: AnyModel, prepared: Sequence[Prepared], on_piece: Callable[[Piece], None] = lambda piece: None
) -> list[list[Any]]:
    """The results of each prepared item, computed together."""
    group = Group(model, prepared, on_piece)
    while group.waiting:
        step = group.next_step()
        group.take(step, model.collect(model.launch(step)))
    return group.results()


def generated_ids(prepared: Prepared) -> list[int]:
    """The tokens of a generated item's first text, the end included, once it has run."""
    sequence = prepared.works[0].sequence  # type: ignore[attr-defined]  # a GenerateWork
    history = sequence.done[0].history if isinstance(sequence, BeamSearch) else sequence.history
    return list(history[len(sequence.prompt) :])


class Group:
    """Prepared items on their way through a model. `waiting`: their works that have not ended."""

    def __init__(
        self, model: AnyModel, prepared: Sequence[Prepared], on_piece: Callable[[Piece], None] = lambda piece: None
    ) -> None:
        """Raises `RuntimeError` if the model has no slots for so many sequences at once."""
        self._model = model
        self._prepared = prepared
        self._on_piece = on_piece
        self._found: dict[Work, Any] = {}
        self.waiting = [work for each in prepared for work in each.works]
        if not all(model.admit(work) for work in self.waiting):
            raise RuntimeError("more sequences at once than the model has slots for")

    def next_step(self) -> list[Work]:
        """All works that are in the phase of the first."""
        return [work for work in self.waiting if work.phase == self.waiting[0].phase]

    def take(self, step: Sequence[Work], outcomes: Sequence[Outcome]) -> None:
        """Lets a step's works go on or end. Raises the error of one that failed."""
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
