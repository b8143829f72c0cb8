"""The registry: leases, one load however many wait, room, failures."""

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel, Task
from blip_serve.engine.engine import Engine
from blip_serve.errors import CheckpointError, DeviceLost, InvalidInput, ModelNotFound, Unavailable
from blip_serve.models.fake import FakeModel
from blip_serve.registry import Registry
from blip_serve.settings import EngineSettings, ModelSettings, Settings
from blip_serve.telemetry import Telemetry
from tests.support.engine import running_engine, work
from tests.support.server import QUIET
from tests.support.waiting import WAIT_S, wait_until


class Loads:
    """A loader that counts, and holds back while `open` is clear: those that `hang`, or all."""

    def __init__(
        self, broken: tuple[str, ...] = (), model: Callable[[], AnyModel] = FakeModel, hang: tuple[str, ...] = ()
    ) -> None:
        self.started: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self._broken = broken
        self._model = model
        self._hang = hang

    def __call__(self, settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        self.started.append(settings.id)
        assert (self._hang and settings.id not in self._hang) or self.open.wait(WAIT_S)
        if settings.id in self._broken:
            raise CheckpointError("file", "the reason")
        return self._model(), card


def models(*ids: str, **first: Any) -> tuple[ModelSettings, ...]:
    return tuple(ModelSettings(id=id, **(first if i == 0 else {})) for i, id in enumerate(ids))


@asynccontextmanager
async def running_registry(loads: Loads, **settings: Any) -> AsyncIterator[Registry]:
    with running_engine() as engine:
        chosen: dict[str, Any] = {"catalogue": False, "log": QUIET} | settings
        registry = Registry(Settings(**chosen), engine, Telemetry(QUIET), loads)
        try:
            yield registry
        finally:
            loads.open.set()
            await registry.close()


def soon() -> float:
    return time.monotonic() + WAIT_S


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WAIT_S):
            await test()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def state(registry: Registry, name: str) -> str:
    return registry.directory.status(name).state


def test_a_lease_loads_the_model_once_however_many_wait() -> None:
    async def test() -> None:
        loads = Loads()
        loads.open.clear()
        async with running_registry(loads, models=models("a")) as registry:

            async def use() -> AnyModel:
                async with registry.lease("a", ["match"], soon()) as lease:
                    return lease.model

            users = [asyncio.create_task(use()) for _ in range(20)]
            await until(lambda: bool(loads.started))
            assert state(registry, "a") == "loading"
            loads.open.set()
            assert len(set(await asyncio.gather(*users))) == 1
            assert loads.started == ["a"]
            assert state(registry, "a") == "ready"

    run(test)


def test_a_request_waits_for_a_load_until_its_deadline() -> None:
    async def test() -> None:
        loads = Loads()
        loads.open.clear()
        async with running_registry(loads, models=models("a")) as registry:
            with pytest.raises(Unavailable) as refused:
                async with registry.lease("a", ["match"], time.monotonic() + 0.01):
                    pass
            assert refused.value.code == "loading"
            assert refused.value.retry_after is not None
            loads.open.set()
            async with registry.lease("a", ["match"], soon()):
                pass
            assert loads.started == ["a"]

    run(test)


def test_a_device_that_is_lost_while_a_model_is_loaded_ends_the_engine() -> None:
    def load(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        raise DeviceLost("no more")

    async def test() -> None:
        with running_engine() as engine:
            waiting = engine.submit(engine.reserve(1, WAIT_S), model := FakeModel(slots=0), [work(slot=True)])
            registry = Registry(
                Settings(catalogue=False, models=models("a"), log=QUIET), engine, Telemetry(QUIET), load
            )
            with pytest.raises(Unavailable):
                await _use(registry, "a")
            assert engine.lost()
            assert isinstance(waiting[0].exception(WAIT_S), Unavailable)
            assert not model.steps

    run(test)


def test_a_device_that_is_lost_in_a_load_given_up_ends_the_engine_too() -> None:
    lost = threading.Event()

    def load(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        lost.wait(WAIT_S)
        raise DeviceLost("no more")

    async def test() -> None:
        with running_engine() as engine:
            chosen = Settings(catalogue=False, models=models("a"), log=QUIET, load_timeout_s=0.01)
            registry = Registry(chosen, engine, Telemetry(QUIET), load)
            with pytest.raises(Unavailable):
                await _use(registry, "a")
            assert not engine.lost()
            lost.set()
            await until(engine.lost)

    run(test)


def test_a_leased_model_is_never_unloaded() -> None:
    async def test() -> None:
        loads = Loads()
        async with running_registry(loads, models=models("a", "b"), max_loaded=1) as registry:
            async with registry.lease("a", ["match"], soon()):
                waiting = asyncio.create_task(_use(registry, "b"))
                await until(lambda: state(registry, "b") == "loading")
                await asyncio.sleep(0)
                assert loads.started == ["a"]
                assert state(registry, "a") == "ready"
            await waiting
            assert state(registry, "a") == "unloaded"
            assert loads.started == ["a", "b"]

    run(test)


def test_the_idle_model_used_longest_ago_makes_room() -> None:
    async def test() -> None:
        loads = Loads()
        async with running_registry(loads, models=models("a", "b", "c"), max_loaded=2) as registry:
            for name in ("a", "b", "a", "c"):
                await _use(registry, name)
            assert [state(registry, name) for name in "abc"] == ["ready", "unloaded", "ready"]

    run(test)


def test_preloaded_models_are_pinned_and_take_no_place() -> None:
    async def test() -> None:
        loads = Loads()
        async with running_registry(loads, models=models("a", "b", "c", preload=True), max_loaded=1) as registry:
            assert registry.directory.not_ready() == ["a: unloaded"]
            registry.preload()
            await until(lambda: not registry.directory.not_ready())
            for name in ("b", "c"):
                await _use(registry, name)
            assert [state(registry, name) for name in "abc"] == ["ready", "unloaded", "ready"]

    run(test)


def test_a_failed_load_leaves_the_others_and_is_not_tried_at_every_request() -> None:
    async def test() -> None:
        loads = Loads(broken=("bad",))
        async with running_registry(loads, models=models("bad", "good"), max_loaded=1) as registry:
            for _ in range(3):
                with pytest.raises(Unavailable) as refused:
                    await _use(registry, "bad")
                assert refused.value.code == "load_failed"
                assert "reason" not in refused.value.message
            assert loads.started == ["bad"]
            assert registry.directory.status("bad").error == "file: the reason"
            await _use(registry, "good")

    run(test)


def test_a_model_that_fails_its_warm_up_is_failed() -> None:
    def broken(works: object) -> None:
        raise RuntimeError("no")

    async def test() -> None:
        async with running_registry(
            Loads(model=lambda: FakeModel(on_launch=broken)), models=models("a", preload=True)
        ) as registry:
            registry.preload()
            await until(lambda: state(registry, "a") == "failed")
            assert registry.directory.not_ready() == ["a: failed"]

    run(test)


def test_unknown_names_and_other_tasks_are_refused() -> None:
    async def test() -> None:
        async with running_registry(Loads(), models=models("a"), catalogue=True) as registry:
            with pytest.raises(ModelNotFound):
                await _use(registry, "nobody")
            with pytest.raises(InvalidInput) as refused:
                await _use(registry, "blip-image-captioning-base")
            assert refused.value.code == "task_not_supported"

    run(test)


def test_no_name_means_the_default_model() -> None:
    async def test() -> None:
        async with (
            running_registry(Loads(), models=models("a", "b"), default_model="b") as registry,
            registry.lease(None, ["match"], soon()) as lease,
        ):
            assert lease.id == "b"

    run(test)


def test_no_name_means_the_first_model_of_the_task_where_the_default_lacks_it() -> None:
    async def test() -> None:
        demos = models("blip-serve/demo-retrieval", "blip-serve/demo-captioning")
        loads = Loads(model=lambda: FakeModel("caption"))
        async with (
            running_registry(loads, models=demos) as registry,
            registry.lease(None, ["caption"], soon()) as lease,
        ):
            assert lease.id == "blip-serve/demo-captioning"

    run(test)


def test_a_load_that_waits_for_room_ends_when_nobody_wants_it_any_more() -> None:
    async def test() -> None:
        loads = Loads()
        async with (
            running_registry(loads, models=models("a", "b"), max_loaded=1) as registry,
            registry.lease("a", ["match"], soon()),
        ):
            with pytest.raises(Unavailable):
                async with registry.lease("b", ["match"], time.monotonic() + 0.01):
                    pass
            await until(lambda: state(registry, "b") == "unloaded")
            assert loads.started == ["a"]

    run(test)


def test_a_load_given_up_a_moment_ago_is_begun_again_for_who_comes_next() -> None:
    async def test() -> None:
        async with running_registry(Loads(), models=models("a", "b"), max_loaded=1) as registry:
            async with registry.lease("a", ["match"], soon()):
                with pytest.raises(Unavailable):
                    async with registry.lease("b", ["match"], time.monotonic() + 0.01):
                        pass
                waiting = asyncio.create_task(_use(registry, "b"))
                await asyncio.sleep(0)
            await waiting

    run(test)


def test_a_load_under_way_does_not_hold_up_the_end() -> None:
    async def test() -> None:
        loads = Loads()
        loads.open.clear()
        engine = Engine(EngineSettings(), Telemetry(QUIET))
        registry = Registry(
            Settings(catalogue=False, models=models("a", preload=True), log=QUIET), engine, Telemetry(QUIET), loads
        )
        registry.preload()
        await until(lambda: bool(loads.started))
        await registry.close()
        assert state(registry, "a") == "unloaded"
        loads.open.set()

    run(test)


LOAD_S = 2.0
"""Time that a load has which is meant to hang; others end at once."""


def test_row86_a_load_that_hangs_gives_up_its_place_and_what_comes_of_it_is_thrown_away() -> None:
    made: list[weakref.ref[AnyModel]] = []

    def make() -> AnyModel:
        model = FakeModel()
        made.append(weakref.ref(model))
        return model

    async def test() -> None:
        loads = Loads(model=make, hang=("hangs",))
        loads.open.clear()
        async with running_registry(
            loads, models=models("hangs", "other"), max_loaded=1, load_timeout_s=LOAD_S
        ) as registry:
            hanging = asyncio.create_task(_use(registry, "hangs"))
            await until(lambda: loads.started == ["hangs"])
            waiting = asyncio.create_task(_use(registry, "other"))
            with pytest.raises(Unavailable) as refused:
                await hanging
            assert refused.value.code == "load_failed"
            assert registry.directory.status("hangs").error == "its load did not end within 2 s"
            await waiting
            assert state(registry, "other") == "ready"
            loads.open.set()
            await until(lambda: len(made) == 2 and made[1]() is None)
            assert state(registry, "hangs") == "failed"

    run(test)


def test_row86_a_model_whose_load_hangs_still_is_not_loaded_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread that hangs may hold memory."""
    monkeypatch.setattr("blip_serve.registry.RETRY_FAILED_S", 0.0)

    async def test() -> None:
        loads = Loads()
        loads.open.clear()
        async with running_registry(loads, models=models("a"), load_timeout_s=LOAD_S) as registry:
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await _use(registry, "a")
            assert loads.started == ["a"]
            loads.open.set()
            while state(registry, "a") != "ready":
                with suppress(Unavailable):
                    await _use(registry, "a")
                await asyncio.sleep(0.01)
            assert loads.started == ["a", "a"]
            assert state(registry, "a") == "ready"

    run(test)


async def _use(registry: Registry, name: str) -> None:
    async with registry.lease(name, ["match"], soon()):
        pass


class InParts(FakeModel):
    """Explains only once `load` was called, which waits while `parts_open` is clear, and fails while `broken`."""

    def __init__(self) -> None:
        super().__init__("match", "explain")
        self.broken: Exception | None = None
        self.loads = 0
        self.parts_open = threading.Event()
        self._whole = False

    def missing(self, tasks: Sequence[Task]) -> Callable[[], object] | None:
        return self._load if "explain" in tasks and not self._whole else None

    def _load(self) -> None:
        self.loads += 1
        assert self.parts_open.wait(WAIT_S)
        if self.broken is not None:
            raise self.broken
        self._whole = True


def test_what_only_one_task_needs_is_loaded_once_and_no_other_task_waits_for_it() -> None:
    async def test() -> None:
        model = InParts()
        async with running_registry(Loads(model=lambda: model), models=models("a")) as registry:

            async def use(task: Task, deadline: float) -> None:
                async with registry.lease("a", [task], deadline):
                    pass

            with pytest.raises(Unavailable) as refused:
                await use("explain", time.monotonic() + 0.2)
            assert refused.value.code == "loading"
            users = [asyncio.create_task(use("explain", soon())) for _ in range(20)]
            await use("match", soon())
            assert not any(user.done() for user in users)
            model.parts_open.set()
            await asyncio.gather(*users)
            await use("explain", soon())
            assert model.loads == 1

    run(test)


@pytest.mark.parametrize("error", [CheckpointError("file", "gone"), MemoryError()])
def test_a_part_that_cannot_be_loaded_fails_its_task_only_and_is_tried_again_later(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        model = InParts()
        model.broken = error
        model.parts_open.set()
        async with running_registry(Loads(model=lambda: model), models=models("a")) as registry:
            for _ in range(2):
                with pytest.raises(Unavailable) as refused:
                    async with registry.lease("a", ["explain"], soon()):
                        pass
                assert refused.value.code == "load_failed"
            async with registry.lease("a", ["match"], soon()):
                assert (model.loads, state(registry, "a")) == (1, "ready")
            monkeypatch.setattr("blip_serve.registry.RETRY_FAILED_S", 0)
            model.broken = None
            async with registry.lease("a", ["explain"], soon()):
                assert model.loads == 2

    run(test)
