"""`FakeModel`: a model without weights, for tests and for measuring the service around a model. Imports no torch.

Scores are made of the digests of image and caption: equal inputs score equally, on every machine.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from blip_serve.domain import (
    IMAGE_COST,
    Caption,
    Done,
    ImageBytes,
    MatchItem,
    Outcome,
    PairScore,
    Prepared,
    Progress,
    Task,
    Work,
)

IMAGE_TOKENS = 10
CAPTIONS_A_WORK = 64


@dataclass(eq=False, slots=True, kw_only=True)
class FakeWork(Work):
    """A work that knows its outcomes; the last one ends it. `slot`: whether it holds one between its steps."""

    plan: deque[Outcome] = field(default_factory=lambda: deque([Done(None)]))
    slot: bool = False


class FakeModel:
    """Plays its works' plans. `open` holds the device while it is clear; `on_launch` may raise, to fail a step."""

    tasks: frozenset[Task] = frozenset({"match"})

    def __init__(
        self,
        *,
        step_seconds: float = 0.0,
        depth: int = 1,
        slots: int = 8,
        on_launch: Callable[[Sequence[FakeWork]], None] = lambda works: None,
    ) -> None:
        self.depth = depth
        self.open = threading.Event()
        self.open.set()
        self.steps: list[list[tuple[str, int, int]]] = []  # each step's works: phase, cost, length
        self.free_slots = slots
        self._step_seconds = step_seconds
        self._on_launch = on_launch

    def prepare(self, item: MatchItem) -> Prepared:
        """An encoding, then a score for each caption."""
        scores = [(i, _score(item.image, caption)) for i, caption in enumerate(item.captions)]
        pieces = [tuple(scores[i : i + CAPTIONS_A_WORK]) for i in range(0, len(scores), CAPTIONS_A_WORK)]
        works = [
            FakeWork(phase="encode", cost=IMAGE_COST, plan=deque([Progress("score", len(piece)), Done(piece)]))
            for piece in pieces
        ]
        return Prepared(tuple(works), IMAGE_TOKENS, 0, tuple(len(caption.text.split()) for caption in item.captions))

    def warm_up(self) -> MatchItem:
        """Any item."""
        return MatchItem(ImageBytes(b"", "warm-up", "image"), (Caption("warm-up", "caption"),))

    def admit(self, work: FakeWork) -> bool:
        """Takes a slot for a work that needs one."""
        if not work.slot:
            return True
        if not self.free_slots:
            return False
        self.free_slots -= 1
        return True

    def release(self, work: FakeWork) -> None:
        """Frees its slot."""
        self.free_slots += work.slot

    def launch(self, works: Sequence[FakeWork]) -> Sequence[FakeWork]:
        """Takes `step_seconds`, once it is not held."""
        self.steps.append([(work.phase, work.cost, work.length) for work in works])
        self.open.wait()
        self._on_launch(works)
        time.sleep(self._step_seconds)
        return works

    def collect(self, launched: Sequence[FakeWork]) -> list[Outcome]:
        """The next outcome of each work's plan."""
        return [work.plan.popleft() for work in launched]


def _score(image: ImageBytes, caption: Caption) -> PairScore:
    number = int.from_bytes(sha256(f"{image.digest} {caption.text}".encode()).digest()[:4]) / 2**32
    return PairScore((0.5 - number, number - 0.5), number, 2 * number - 1)
