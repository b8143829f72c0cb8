"""Which functions of a package are called, in which order and from which file, on every thread. Knows no service."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType


@dataclass(slots=True)
class Journey:
    """The calls of one request: (calling file or `None`, called file), in the order of their coming.

    Files are relative to the package. The caller is the nearest frame of the package below the call, so that a call by
    way of a library counts as the caller's. There is none where a library starts the code by itself: an event loop that
    resumes a task, a server that calls the application, a new thread.
    """

    calls: list[tuple[str | None, str]] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """The files in the order in which they are entered first."""
        return list(dict.fromkeys(called for _, called in self.calls))

    @property
    def hand_overs(self) -> list[tuple[str | None, str]]:
        """The calls that come from another file, or from outside of the package."""
        return [(caller, called) for caller, called in self.calls if caller != called]


class Tracer:
    """Records calls of functions in `package` (a folder) while `recording`, on all threads that start after it is made.

    A coroutine or generator counts once, when it starts; that it goes on after a wait is no call.
    """

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}/"
        self._journey: Journey | None = None
        self._begun: set[FrameType] = set()
        threading.setprofile(self._note)

    @contextmanager
    def recording(self) -> Iterator[Journey]:
        """The calls made while inside."""
        self._journey = journey = Journey()
        try:
            yield journey
        finally:
            self._journey = None
            self._begun.clear()

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        journey = self._journey
        if journey is None or event != "call" or not self._inside(frame) or frame in self._begun:
            return
        self._begun.add(frame)  # held, so that no other frame gets its identity
        journey.calls.append((self._caller(frame), self._file(frame)))

    def _caller(self, frame: FrameType) -> str | None:
        below = frame.f_back
        while below is not None and not self._inside(below):
            below = below.f_back
        return None if below is None else self._file(below)

    def _inside(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(self._prefix)

    def _file(self, frame: FrameType) -> str:
        return frame.f_code.co_filename.removeprefix(self._prefix)
