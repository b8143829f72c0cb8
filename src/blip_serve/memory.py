"""What models take of memory, and the room they share: a budget, who holds how much of it, and who makes room."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a model takes of its device's memory, in bytes, computed before any of it is read.

    `weights`: with the copies that are kept of them. `slots`: the KV cache when all slots are in use and full.
    `caches`: the image caches when full, and the keys and values that are kept of images. `step`: what a full step
    takes for its duration. `explaining`: the weights that are loaded beside the others at the first explanation.
    `dtype`: the number type that this holds for.
    """

    weights: int
    slots: int = 0
    caches: int = 0
    step: int = 0
    explaining: int = 0
    dtype: str = ""

    @property
    def held(self) -> int:
        """What a loaded model may hold between its steps, before its first explanation."""
        return self.weights + self.slots + self.caches


def told(size: int) -> str:
    """A number of bytes as a person reads it, such as `1.04 GB`."""
    if size < 100_000:
        return f"{size} bytes"
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"


class NeverFits(Exception):
    """What is needed is more than all that those who must stay leave of the budget. `need`, `most`: bytes."""

    def __init__(self, need: int, most: int, budget: int) -> None:
        setting = f"{told(budget)} (memory.budget_bytes)"
        found = f"the budget is {setting}"
        if most < budget:
            found = f"the preloaded models leave {told(max(most, 0))} of the budget of {setting}"
        super().__init__(f"it needs {told(need)} of memory, {found}")


class Holder(Protocol):
    """Who holds room. `held`: bytes. `last_used`: in monotonic seconds."""

    held: int
    last_used: float

    @property
    def pinned(self) -> bool:
        """Whether it stays for good."""
        ...

    @property
    def idle(self) -> bool:
        """Whether it may be unloaded."""
        ...

    @property
    def is_leaving(self) -> bool:
        """Whether it was unloaded, and its memory is not given back yet."""
        ...


H = TypeVar("H", bound=Holder)


class Room(Generic[H]):
    """The budget's bytes. For the event loop only. `unload` begins to unload an idle holder."""

    def __init__(self, holders: Iterable[H], unload: Callable[[H], None]) -> None:
        self._holders = list(holders)
        self._unload = unload
        self._changed = asyncio.Event()

    async def take(self, holder: H, size: int, budget: int) -> None:
        """Waits until `size` more bytes are free for a holder, and gives them to it.

        Idle holders are unloaded if, and only if, that makes enough room; those that were used last stay. Raises
        `NeverFits`.
        """
        while not self._took(holder, size, budget):
            await self._changed.wait()
        if holder.pinned:
            self.changed()  # others may find that they never fit

    def changed(self) -> None:
        """Those who wait look again: a holder has become idle, or gave its bytes back."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _took(self, holder: H, size: int, budget: int) -> bool:
        others = [other for other in self._holders if other is not holder]
        most = budget - sum(other.held for other in others if other.pinned)
        if holder.held + size > most:
            raise NeverFits(holder.held + size, most, budget)
        lacking = size + sum(each.held for each in self._holders) - budget
        if lacking <= 0:
            holder.held += size
            return True
        coming = sum(other.held for other in others if other.is_leaving)
        if coming < lacking:
            for other in least_used(lacking - coming, [other for other in others if other.idle]):
                self._unload(other)
        return False


def least_used(needed: int, idle: Sequence[H]) -> list[H]:
    """Which of the idle to unload for `needed` bytes: those used longest ago, and none that is not needed.

    None if all together are not enough.
    """
    chosen, size = [], 0
    for holder in sorted(idle, key=lambda holder: holder.last_used):
        if size < needed:
            chosen.append(holder)
            size += holder.held
    if size < needed:
        return []
    for holder in reversed(chosen[:]):
        if size - holder.held >= needed:
            chosen.remove(holder)
            size -= holder.held
    return chosen
