"""Fakes that generate texts: one that writes down what it is asked, one that takes a step at a time."""

import threading
from collections.abc import Sequence

from blip_serve.domain import GenerateItem, Item, Prepared, Task
from blip_serve.models.fake import FakeModel, FakeWork
from tests.support.waiting import WAIT_S


class Recorder(FakeModel):
    """Keeps the items it is asked."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__(*tasks)
        self.items: list[GenerateItem] = []

    def prepare(self, item: Item) -> Prepared:
        """Keeps `item`, if it is to be generated from."""
        if isinstance(item, GenerateItem):
            self.items.append(item)
        return super().prepare(item)


class Stepwise(FakeModel):
    """Takes as many decoding steps as it is allowed, then waits. Each step adds one word to each text."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__(*tasks, on_launch=self._wait)
        self._allowed = threading.Semaphore(0)

    def allow(self, steps: int) -> None:
        """Lets it take more steps."""
        self._allowed.release(steps)

    @property
    def decoding_steps(self) -> int:
        """The decoding steps begun so far, with the one that waits."""
        return sum(step[0][0] == "decode" for step in self.steps)

    def _wait(self, works: Sequence[FakeWork]) -> None:
        if works[0].phase == "decode":
            assert self._allowed.acquire(timeout=WAIT_S)
