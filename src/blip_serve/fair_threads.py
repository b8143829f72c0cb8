"""Threads shared fairly between callers; a thread that hangs is replaced. Knows no images and no models."""

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from blip_serve.domain import WorkClass
from blip_serve.errors import Unavailable
from blip_serve.telemetry import Telemetry
from blip_serve.threads import outcome_of

T = TypeVar("T")

MAX_LOST = 8
"""Threads that may be replaced while they are still at work."""
HANG_S = 60.0
"""So long `MAX_LOST` threads outlive their calls' deadlines before they are taken to hang for good."""
GRACE_S = 1.0
"""How long after its deadline a call is written off: those that came with it have left the queue by then."""
BACKGROUND_S = 60.0
"""The longest that a background call has on its thread. Its deadline may be many minutes away."""
AGAIN_S = 1.0
"""When a thread that could not be replaced is looked at again."""


class NotNow(Exception):
    """Raised by a call that finds no room, at once: it is called again when others have ended and there is `room`."""

    def __init__(self, room: Callable[[], bool]) -> None:
        super().__init__("no room")
        self.room = room


@dataclass(eq=False, slots=True)
class Call:
    """A call on its way: queued, then on a thread, where `timer` writes it off soon after its deadline."""

    caller: str
    work_class: WorkClass
    key: Hashable
    function: Callable[[], object]
    result: "asyncio.Future[Any]"
    deadline: float
    queued: bool = True
    timer: asyncio.TimerHandle | None = None
    room: Callable[[], bool] | None = None

    @property
    def ready(self) -> bool:
        """Whether it may run, as far as it is known to need room."""
        return self.room is None or self.room()


class FairThreads:
    """Runs calls on `share` + 1 threads, of which one caller has `share` at most: the last is always another's.

    Callers take turns. Interactive calls go before background calls, and are counted apart. All background calls
    together have `share` threads at most, so that one is always left for an interactive call.

    A thread cannot be stopped: a call that outlives its deadline is written off, and a new thread replaces its own. Two
    calls of one `key` never run side by side: the second is likely to find its work done, and would only wait for the
    first on a thread of its own. All methods are for one event loop.

    Processes could be stopped, but hand the pixels on: a small image took 3.0 ms by a process and 1.9 by a thread, a
    JPEG of 640x480 9.0 and 7.5, on two cores at work.
    """

    def __init__(self, share: int, name: str, telemetry: Telemetry) -> None:
        self._share = share
        self._name = name
        self._telemetry = telemetry
        self._waiting: dict[WorkClass, OrderedDict[str, deque[Call]]] = {
            "interactive": OrderedDict(),
            "background": OrderedDict(),
        }
        self._running: dict[Hashable, Call] = {}
        self._busy = Counter[tuple[WorkClass, str]]()
        self._busy_background = 0
        self._lost: dict[Call, float] = {}  # since when (monotonic seconds)
        self._threads = 0
        self._calls: SimpleQueue[Call | None] = SimpleQueue()

    async def run(
        self,
        caller: str,
        key: Hashable,
        deadline: float,
        function: Callable[[], T],
        work_class: WorkClass = "interactive",
    ) -> T:
        """The result of `function`, called on one of the threads by `deadline` (monotonic seconds).

        Raises what it raises, but for `NotNow`, and `Unavailable` where no thread can be had. Whoever is cancelled
        while the call waits takes it back; one that runs is left to end, and counts until it does or its deadline
        passes.
        """
        call = Call(caller, work_class, key, function, asyncio.get_running_loop().create_future(), deadline)
        self._waiting[work_class].setdefault(caller, deque()).append(call)
        self._start_calls()
        try:
            result: T = await call.result
            return result
        finally:
            if call.queued:
                self._remove(call)
            del call  # its result's error refers to this frame

    def trouble(self) -> str | None:
        """Why no new call should come here, or `None`."""
        return f"{self._name} threads hang" if len(self._lost) == MAX_LOST else None

    def lost(self) -> bool:
        """Whether so many threads hang for so long that the process had better start anew."""
        return len(self._lost) == MAX_LOST and time.monotonic() - max(self._lost.values()) > HANG_S

    def close(self) -> None:
        """Lets the idle threads end. Nothing waits for those that are at work: they do not keep a process alive."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _start_calls(self) -> None:
        while self._busy.total() <= self._share and (call := self._next()) is not None:
            try:
                self._start_call(call)
            except RuntimeError as error:
                self._telemetry.log.error("no_thread", thread=self._name, exc_info=error)
                call.result.set_exception(Unavailable("The service has no thread for this.", retry_after=5))

    def _start_call(self, call: Call) -> None:
        """Raises `RuntimeError` where the system has no thread."""
        if self._threads == self._busy.total():
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._threads += 1
        self._running[call.key] = call
        self._busy[call.work_class, call.caller] += 1
        self._busy_background += call.work_class == "background"
        patience = max(0.0, call.deadline - time.monotonic())
        if call.work_class == "background":
            patience = min(patience, BACKGROUND_S)
        call.timer = call.result.get_loop().call_later(patience + GRACE_S, self._write_off, call)
        self._calls.put(call)

    def _next(self) -> Call | None:
        """The call whose turn it is, taken from the queue; its caller comes last of its class from now on."""
        call = self._next_of("interactive")
        if call is None and self._busy_background < self._share and not self._interactive_needs_room():
            call = self._next_of("background")
        return call

    def _next_of(self, work_class: WorkClass) -> Call | None:
        waiting = self._waiting[work_class]
        for caller, calls in waiting.items():
            if self._busy[work_class, caller] < self._share:
                for call in calls:
                    if call.key not in self._running and call.ready:
                        waiting.move_to_end(caller)
                        self._remove(call)
                        return call
        return None

    def _interactive_needs_room(self) -> bool:
        """Whether an interactive call found no room: background calls would take what is freed before it is enough."""
        return any(call.room for calls in self._waiting["interactive"].values() for call in calls)

    def _remove(self, call: Call) -> None:
        call.queued = False
        waiting = self._waiting[call.work_class]
        calls = waiting[call.caller]
        calls.remove(call)
        if not calls:
            del waiting[call.caller]

    def _work(self) -> None:
        """What a thread does."""
        while (call := self._calls.get()) is not None:
            outcome = outcome_of(call.function)
            with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
                call.result.get_loop().call_soon_threadsafe(self._end, call, outcome)
            del call, outcome  # or they would stay until the next call

    def _end(self, call: Call, outcome: tuple[object, Exception | None]) -> None:
        assert call.timer is not None
        call.timer.cancel()
        if self._lost.pop(call, None) is not None:
            self._calls.put(None)  # its thread has been replaced
        else:
            self._give_back(call)
        result, error = outcome
        if call.result.done():
            pass  # nobody waits any more
        elif isinstance(error, NotNow):
            self._put_back(call, error.room)
        elif error is not None:
            call.result.set_exception(error)
        else:
            call.result.set_result(result)
        self._start_calls()

    def _put_back(self, call: Call, room: Callable[[], bool]) -> None:
        """Before its caller's others, whose turn it was."""
        call.queued, call.timer, call.room = True, None, room
        waiting = self._waiting[call.work_class]
        calls = waiting.setdefault(call.caller, deque())
        calls.appendleft(call)
        waiting.move_to_end(call.caller, last=False)

    def _write_off(self, call: Call) -> None:
        if len(self._lost) == MAX_LOST:
            call.timer = call.result.get_loop().call_later(AGAIN_S, self._write_off, call)
            return
        self._lost[call] = time.monotonic()
        self._threads -= 1
        self._give_back(call)
        self._telemetry.log.error("thread_lost", thread=self._name, lost=len(self._lost))
        self._start_calls()

    def _give_back(self, call: Call) -> None:
        line = call.work_class, call.caller
        self._busy[line] -= 1
        if not self._busy[line]:
            del self._busy[line]
        self._busy_background -= call.work_class == "background"
        del self._running[call.key]
