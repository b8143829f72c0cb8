import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from blip_serve import fair_threads
from blip_serve.domain import WorkClass
from blip_serve.errors import Unavailable
from blip_serve.fair_threads import MAX_LOST, FairThreads, NotNow
from blip_serve.telemetry import Telemetry
from tests.support.server import QUIET
from tests.support.waiting import WAIT_S, wait_until

SHARE = 2
FAR = 1e9
"""A deadline that does not pass."""


class Held:
    """Calls that do not return until they are let go; `begun` are their names, in order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = threading.Event()

    def __call__(self, name: str) -> str:
        self.begun.append(name)
        self.open.wait(WAIT_S)
        return name


@contextmanager
def fair() -> Iterator[FairThreads]:
    threads = FairThreads(SHARE, "test", Telemetry(QUIET))
    try:
        yield threads
    finally:
        threads.close()


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_threads, "GRACE_S", 0.0)


def in_loop(use: Callable[[FairThreads, Held], Awaitable[None]]) -> None:
    async def run() -> None:
        held = Held()
        with fair() as threads:
            try:
                await asyncio.wait_for(use(threads, held), WAIT_S)
            finally:
                held.open.set()

    asyncio.run(run())


def call(
    threads: FairThreads,
    caller: str,
    name: str,
    held: Held,
    key: str | None = None,
    deadline: float = FAR,
    work_class: WorkClass = "interactive",
) -> "asyncio.Task[Any]":
    return asyncio.ensure_future(threads.run(caller, key or name, deadline, lambda: held(name), work_class))


async def begun(held: Held, count: int) -> list[str]:
    await asyncio.to_thread(wait_until, lambda: len(held.begun) >= count)
    return held.begun


def test_results_and_errors_come_back() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        assert await threads.run("a", 1, FAR, lambda: 7) == 7
        with pytest.raises(KeyError, match="mine"):
            await threads.run("a", 1, FAR, lambda: dict[str, int]()["mine"])
        with pytest.raises(RuntimeError, match="SystemExit"):
            await threads.run("a", 1, FAR, lambda: exec("raise SystemExit"))
        assert await threads.run("a", 1, FAR, lambda: 8) == 8

    in_loop(use)


def test_one_caller_never_takes_the_last_thread() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        many = [call(threads, "many", f"many {i}", held) for i in range(10)]
        assert sorted(await begun(held, 2)) == ["many 0", "many 1"]
        assert await threads.run("other", "other", FAR, lambda: "at once") == "at once"
        assert sorted(held.begun) == ["many 0", "many 1"]
        held.open.set()
        assert await asyncio.gather(*many) == [f"many {i}" for i in range(10)]

    in_loop(use)


def test_callers_take_turns() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        order: list[str] = []
        others = Held()
        kept = [call(threads, name, name, others) for name in ("a", "a2")]  # one thread is left
        await begun(others, 2)
        first = call(threads, "b", "b", held)
        await begun(held, 1)
        late = [
            asyncio.ensure_future(threads.run(caller, name, FAR, lambda name=name: order.append(name)))  # type: ignore[misc]
            for caller, name in [("c", "c0"), ("c", "c1"), ("c", "c2"), ("d", "d0"), ("d", "d1"), ("e", "e0")]
        ]
        await asyncio.sleep(0)
        held.open.set()
        await asyncio.gather(first, *late)
        others.open.set()
        await asyncio.gather(*kept)
        assert order.index("d0") < order.index("c2")
        assert order.index("e0") < order.index("c2")

    in_loop(use)


def test_one_key_is_never_run_twice_at_once_and_holds_no_other_thread() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        first = call(threads, "a", "first", held, key="same")
        second = call(threads, "b", "second", held, key="same")
        assert await begun(held, 1) == ["first"]
        assert await threads.run("b", "other", FAR, lambda: 1) == 1
        assert held.begun == ["first"]
        held.open.set()
        assert list(await asyncio.gather(first, second)) == ["first", "second"]

    in_loop(use)


def test_a_call_taken_back_while_it_waits_never_runs() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        running = [call(threads, "a", f"a{i}", held) for i in range(2)]
        await begun(held, 2)
        waiting = call(threads, "a", "taken back", held)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        held.open.set()
        await asyncio.gather(*running, call(threads, "a", "last", held))
        assert sorted(held.begun) == ["a0", "a1", "last"]

    in_loop(use)


def test_a_call_given_up_while_it_runs_counts_until_it_ends() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        running = [call(threads, "a", f"a{i}", held) for i in range(2)]
        await begun(held, 2)
        running[0].cancel()
        await asyncio.wait([running[0]])
        late = call(threads, "a", "late", held)
        assert await threads.run("b", "b", FAR, lambda: 1) == 1
        assert sorted(held.begun) == ["a0", "a1"]
        held.open.set()
        await late

    in_loop(use)


def test_background_calls_of_all_callers_leave_a_thread_to_interactive_ones() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        many = [call(threads, f"many {i}", f"many {i}", held, work_class="background") for i in range(10)]
        assert sorted(await begun(held, SHARE)) == ["many 0", "many 1"]
        assert await threads.run("other", "other", FAR, lambda: "at once") == "at once"
        assert await threads.run("many 0", "own", FAR, lambda: "its own as well") == "its own as well"
        assert sorted(held.begun) == ["many 0", "many 1"]
        held.open.set()
        assert await asyncio.gather(*many) == [f"many {i}" for i in range(10)]

    in_loop(use)


def test_interactive_calls_go_before_all_background_calls() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        late = Held()
        first = [call(threads, name, name, held) for name in ("a", "b", "c")]
        await begun(held, SHARE + 1)
        second = [call(threads, "d", f"background {i}", late, work_class="background") for i in range(4)]
        second += [call(threads, name, name, late) for name in ("e", "f", "g")]
        await asyncio.sleep(0)
        held.open.set()
        assert sorted(await begun(late, SHARE + 1)) == ["e", "f", "g"]
        late.open.set()
        await asyncio.gather(*first, *second)

    in_loop(use)


def test_a_caller_s_background_calls_do_not_count_against_its_interactive_ones() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        many = [call(threads, "a", f"many {i}", held, work_class="background") for i in range(3)]
        await begun(held, SHARE)
        one = call(threads, "a", "one", held)
        assert (await begun(held, SHARE + 1))[-1] == "one"
        held.open.set()
        await asyncio.gather(one, *many)

    in_loop(use)


def test_no_background_call_takes_the_room_that_an_interactive_one_waits_for() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        free = False

        def large() -> str:
            if not free:
                raise NotNow(lambda: free)
            held.begun.append("large")
            return "large"

        running = [call(threads, "a", "a", held)]
        await begun(held, 1)
        waiting = asyncio.ensure_future(threads.run("b", "large", FAR, large))
        await asyncio.to_thread(wait_until, lambda: any(threads._waiting["interactive"].values()))
        late = call(threads, "c", "background", held, work_class="background")
        assert await threads.run("d", "small", FAR, lambda: "small") == "small"
        assert held.begun == ["a"]
        free = True
        held.open.set()
        await asyncio.gather(*running, waiting, late)
        assert sorted(held.begun) == ["a", "background", "large"]

    in_loop(use)


def test_a_background_call_is_written_off_long_before_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_threads, "BACKGROUND_S", 0.0)

    async def use(threads: FairThreads, held: Held) -> None:
        stuck = [call(threads, "a", f"stuck {i}", held, work_class="background") for i in range(SHARE)]
        assert await threads.run("a", "next", FAR, lambda: "next", "background") == "next"
        held.open.set()
        await asyncio.gather(*stuck)

    in_loop(use)


def test_a_call_that_outlives_its_deadline_is_replaced() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        stuck = [call(threads, "a", f"stuck {i}", held, deadline=0) for i in range(2)]
        assert await threads.run("a", "next", FAR, lambda: "next") == "next"
        assert threads.trouble() is None
        held.open.set()
        assert await asyncio.gather(*stuck) == ["stuck 0", "stuck 1"]
        alive = [each for each in threading.enumerate() if each.name == "test"]
        assert await threads.run("a", "last", FAR, lambda: "last") == "last"
        await asyncio.to_thread(wait_until, lambda: sum(each.is_alive() for each in alive) <= SHARE + 1)

    in_loop(use)


def test_too_many_that_hang_are_not_replaced_any_more_and_in_the_end_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_threads, "AGAIN_S", 0.01)

    async def use(threads: FairThreads, held: Held) -> None:
        stuck = [call(threads, "a", f"{i}", held, deadline=0) for i in range(MAX_LOST + 5)]
        await begun(held, MAX_LOST + SHARE)
        assert threads.trouble() == "test threads hang"
        assert not threads.lost()
        monkeypatch.setattr(fair_threads, "HANG_S", 0.0)
        assert threads.lost()
        assert len(held.begun) == MAX_LOST + SHARE
        held.open.set()
        await asyncio.gather(*stuck)
        assert threads.trouble() is None
        assert not threads.lost()

    in_loop(use)


def test_a_call_without_room_holds_no_thread_and_runs_once_there_is_some() -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        free = False
        tried: list[str] = []

        def large(name: str) -> str:
            tried.append(name)
            if not free:
                raise NotNow(lambda: free)
            return name

        first = [call(threads, "a", f"a{i}", held) for i in range(2)]
        await begun(held, 2)
        waiting = [
            asyncio.ensure_future(threads.run("b", name, FAR, lambda name=name: large(name)))  # type: ignore[misc]
            for name in ("large 1", "large 2")
        ]
        assert await threads.run("c", "small", FAR, lambda: "small") == "small"
        assert await threads.run("b", "small", FAR, lambda: "small") == "small"
        assert sorted(tried) == ["large 1", "large 2"]  # once each: the rest is asking whether there is room
        free = True
        held.open.set()
        assert list(await asyncio.gather(*waiting)) == ["large 1", "large 2"]
        await asyncio.gather(*first)

    in_loop(use)


def test_without_a_thread_to_be_had_a_call_is_told_so_and_the_next_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(threads: FairThreads, held: Held) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", lambda self: exec('raise RuntimeError("no thread")'))
            for _ in range(MAX_LOST + SHARE):
                with pytest.raises(Unavailable):
                    await threads.run("a", 1, 0, lambda: 1)
        assert await threads.run("a", 1, FAR, lambda: 1) == 1
        assert threads.trouble() is None

    in_loop(use)
