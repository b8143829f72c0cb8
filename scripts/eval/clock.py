"""Time of two kinds: what passes, and what the process computes, which others on the machine change less."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds. `cpu`: of all threads of the process."""

    wall: float
    cpu: float

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.wall + other.wall, self.cpu + other.cpu)

    def __mul__(self, times: float) -> "Taken":
        return Taken(self.wall * times, self.cpu * times)


class Clock:
    """Runs since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def taken(self) -> Taken:
        """Until now."""
        return Taken(time.perf_counter() - self._wall, time.process_time() - self._cpu)
