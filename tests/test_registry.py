"""The registry: leases, one load however many wait, room, failures."""

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import pytest

from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel, Task
from blip_serve.engine.engine import Engine
from blip_serve.errors import CheckpointError, Conflict, DeviceLost, InvalidInput, ModelNotFound, Unavailable
from blip_serve.loading import Found
from blip_serve.memory import Footprint
from blip_serve.models.fake import FakeModel
from blip_serve.registry import Registry
from blip_serve.settings import EngineSettings, ModelSettings, Settings
from blip_serve.telemetry import Telemetry
from tests.support.engine import running_engine, work
from tests.support.making import Making
from tests.support.server import QUIET
from tests.support.waiting import WAIT_S, wait_until

GB = 10**9


class Loads:
    """A loader that counts, and holds back while `open` is clear: those that `hang`, or all.

    A model holds 1 GB, or what `sizes` says of its id, and for its explanations what `beside` says. `room`: the budget.
    """

    def __init__(
        self,
        broken: tuple[str, ...] = (),
        model: Callable[[], AnyModel] = FakeModel,
        hang: tuple[str, ...] = (),
        sizes: Mapping[str, int] = MappingProxyType({}),
        beside: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.started: list[str] = []
        self.given_back = 0
        self.room = GB
        self._sizes = sizes
        self._beside = beside
        self.open = threading.Event()
        self.open.set()
        self._broken = broken
        self._model = model
        self._hang = hang

    def budget(self) -> int:
        return self.room

    def find(self, model: ModelSettings, card: ModelCard) -> Found:
        footprint = Footprint(self._sizes.get(model.id, GB), explaining=self._beside.get(model.id, 0))
        return Found(footprint, lambda: self._load(model, card))

    def give_back(self) -> None:
        self.given_back += 1

    def _load(self, settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        self.started.append(settings.id)
        assert (self._hang and settings.id not in self._hang) or self.open.wait(WAIT_S)
        if settings.id in self._broken:
            raise CheckpointError("file", "the reason")
        return self._model(), card


def models(*ids: str, **first: Any) -> tuple[ModelSettings, ...]:
    return tuple(ModelSettings(id=id, **(first if i == 0 else {})) for i, id in enumerate(ids))


@asynccontextmanager
async def running_registry(loads: Loads, room: int = 1, **settings: Any) -> AsyncIterator[Registry]:
    with running_engine() as engine:
        chosen: dict[str, Any] = {"catalogue": False, "log": QUIET} | settings
        loads.room = room * GB
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
                Settings(catalogue=False, models=models("a"), log=QUIET), engine, Telemetry(QUIET), Making(load)
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
            registry = Registry(chosen, engine, Telemetry(QUIET), Making(load))
            with pytest.raises(Unavailable):
                await _use(registry, "a")
            assert not engine.lost()
            lost.set()
            await until(engine.lost)

    run(test)


def test_a_leased_model_is_never_unloaded() -> None:
    async def test() -> None:
        loads = Loads()
        async with running_registry(loads, models=models("a", "b"), room=1) as registry:
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
        async with running_registry(loads, models=models("a", "b", "c"), room=2) as registry:
            for name in ("a", "b", "a", "c"):
                await _use(registry, name)
            assert [state(registry, name) for name in "abc"] == ["ready", "unloaded", "ready"]

    run(test)


def test_preloaded_models_are_pinned_and_counted() -> None:
    async def test() -> None:
        loads = Loads()
        async with running_registry(loads, models=models("a", "b", "c", preload=True), room=2) as registry:
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
        async with running_registry(loads, models=models("bad", "good"), room=1) as registry:
            for _ in range(3):
                with pytest.raises(Unavailable) as refused:
                    await _use(registry, "bad")
                assert refused.value.code == "load_failed"
                assert "reason" not in refused.value.message
            assert loads.started == ["bad"]
            assert registry.directory.status("bad").error == "file: the reason"
            await _use(registry, "good")
            assert loads.given_back == 1  # what the failed load had read, before the room was used again

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
            running_registry(loads, models=models("a", "b"), room=1) as registry,
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
        async with running_registry(Loads(), models=models("a", "b"), room=1) as registry:
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
        async with running_registry(loads, models=models("hangs", "other"), load_timeout_s=LOAD_S) as registry:
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


def test_row86_a_part_whose_load_hangs_is_given_up_and_does_not_keep_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("blip_serve.residents.GONE_S", 0.0)

    async def test() -> None:
        hanging = InParts()
        loads = Loads(model=lambda: hanging, beside={"a": GB})
        async with running_registry(loads, models=models("a", "b"), room=2, load_timeout_s=LOAD_S / 4) as registry:
            for _ in range(2):
                with pytest.raises(Unavailable) as refused:
                    async with registry.lease("a", ["explain"], soon()):
                        pass
                assert refused.value.code == "load_failed"
            assert (hanging.loads, registry.directory.entries["a"].held) == (1, 2 * GB)
            await _use(registry, "b")
            assert state(registry, "a") == "unloaded"
            hanging.parts_open.set()

    run(test)


def test_nothing_is_unloaded_while_there_is_room() -> None:
    async def test() -> None:
        loads = Loads()
        names = [f"m{i}" for i in range(10)]
        async with running_registry(loads, models=models(*names), room=10) as registry:
            for name in names * 3:
                await _use(registry, name)
            assert (loads.started, loads.given_back) == (names, 0)

    run(test)


def test_no_more_is_unloaded_than_is_needed() -> None:
    sizes = {"small": GB, "large": 5 * GB, "new": 4 * GB}

    async def test() -> None:
        loads = Loads(sizes=sizes)
        async with running_registry(loads, models=models("small", "large", "new"), room=7) as registry:
            for name in ("small", "large", "new"):  # the one used longest ago would not be enough
                await _use(registry, name)
            assert [state(registry, name) for name in ("small", "large", "new")] == ["ready", "unloaded", "ready"]
            assert loads.given_back == 1

    run(test)


def test_nothing_is_unloaded_for_a_model_that_leases_keep_from_fitting_all_the_same() -> None:
    async def test() -> None:
        loads = Loads(sizes={"new": 2 * GB})
        async with running_registry(loads, models=models("idle", "leased", "new"), room=2) as registry:
            await _use(registry, "idle")
            async with registry.lease("leased", ["match"], soon()):
                with pytest.raises(Unavailable) as refused:
                    async with registry.lease("new", ["match"], time.monotonic() + 0.05):
                        pass
            assert (refused.value.code, state(registry, "idle")) == ("loading", "ready")

    run(test)


def test_what_can_never_fit_is_refused_at_once_with_both_numbers() -> None:
    async def test() -> None:
        loads = Loads(sizes={"huge": 3 * GB, "pinned": GB // 2})
        chosen = models("pinned", "small", "huge", preload=True)
        async with running_registry(loads, models=chosen, room=3) as registry:
            registry.preload()
            await until(lambda: state(registry, "pinned") == "ready")
            await _use(registry, "small")
            for _ in range(2):
                with pytest.raises(Unavailable) as refused:
                    await _use(registry, "huge")
                assert (refused.value.code, refused.value.retry_after) == ("insufficient_memory", None)
                assert "needs 3.00 GB" in refused.value.message
                assert "leave 2.50 GB of the budget of 3.00 GB" in refused.value.message
            assert loads.started == ["pinned", "small"]
            assert [state(registry, name) for name in ("pinned", "small", "huge")] == ["ready", "ready", "failed"]

    run(test)


def test_preloaded_models_that_do_not_fit_together_fail_with_both_numbers() -> None:
    async def test() -> None:
        both = tuple(ModelSettings(id=id, preload=True) for id in ("first", "second"))
        async with running_registry(Loads(sizes={"second": 2 * GB}), models=both, room=2) as registry:
            registry.preload()
            await until(lambda: [state(registry, each.id) for each in both] == ["ready", "failed"])
            error = registry.directory.status("second").error
            assert error is not None
            assert "needs 2.00 GB" in error
            assert "leave 1.00 GB" in error

    run(test)


def test_memory_is_given_back_before_another_model_takes_it() -> None:
    made: list[weakref.ref[AnyModel]] = []
    alive: list[bool] = []

    class Watched(Loads):
        def give_back(self) -> None:
            super().give_back()
            alive.append(made[0]() is not None)
            assert self.started == ["a"]

    def make() -> AnyModel:
        model = FakeModel()
        model.itself = model  # type: ignore[attr-defined]  # a cycle, as an error's traceback may be part of
        made.append(weakref.ref(model))
        return model

    async def test() -> None:
        async with running_registry(Watched(model=make), models=models("a", "b")) as registry:
            await _use(registry, "a")
            await _use(registry, "b")
            assert alive == [False]

    run(test)


def test_what_explanations_need_counts_once_it_is_loaded() -> None:
    async def test() -> None:
        loads = Loads(model=InParts, beside={"a": GB, "b": 2 * GB})
        async with running_registry(loads, models=models("a", "other", "b"), room=2) as registry:

            async def explain(name: str) -> None:
                async with registry.lease(name, ["explain"], soon()) as lease:
                    assert lease.id == name

            for name in ("a", "other"):
                await _use(registry, name)
            entry = registry.directory.entries["a"]
            assert isinstance(entry.model, InParts)
            entry.model.parts_open.set()
            await explain("a")
            assert (entry.held, state(registry, "other")) == (2 * GB, "unloaded")
            with pytest.raises(Unavailable) as refused:
                await explain("b")
            assert refused.value.code == "insufficient_memory"
            await _use(registry, "b")

    run(test)


def test_models_are_loaded_and_unloaded_when_asked_to() -> None:
    async def test() -> None:
        loads = Loads()
        async with running_registry(loads, models=models("pinned", "a", preload=True), room=2) as registry:
            registry.preload()
            await until(lambda: state(registry, "pinned") == "ready")
            with pytest.raises(Conflict) as pinned:
                await registry.unload("pinned")
            assert (pinned.value.code, pinned.value.retry_after) == ("model_pinned", None)
            await registry.unload("a")
            await asyncio.gather(*(registry.load("a", soon()) for _ in range(5)))
            await registry.load("a", soon())
            async with registry.lease("a", ["match"], soon()):
                with pytest.raises(Conflict) as used:
                    await registry.unload("a")
            assert (used.value.code, used.value.retry_after) == ("model_in_use", 1)
            await asyncio.gather(*(registry.unload("a") for _ in range(5)))
            assert (loads.started, loads.given_back) == (["pinned", "a"], 1)
            assert registry.directory.entries["a"].held == 0

    run(test)


def test_a_load_that_was_asked_for_tries_again_at_once() -> None:
    async def test() -> None:
        loads = Loads(broken=("bad",))
        async with running_registry(loads, models=models("bad")) as registry:
            for _ in range(2):
                with pytest.raises(Unavailable) as refused:
                    await registry.load("bad", soon())
                assert refused.value.code == "load_failed"
            assert loads.started == ["bad", "bad"]

    run(test)


def test_idle_models_are_unloaded_after_a_time_but_not_those_in_use_or_preloaded() -> None:
    async def test() -> None:
        chosen = models("pinned", "idle", "leased", preload=True)
        async with running_registry(Loads(), models=chosen, room=3, memory={"unload_after_s": 0.05}) as registry:
            registry.preload()
            await until(lambda: state(registry, "pinned") == "ready")
            async with registry.lease("leased", ["match"], soon()):
                for _ in range(2):
                    await _use(registry, "idle")
                    await until(lambda: state(registry, "idle") == "unloaded")
                assert [state(registry, name) for name in ("pinned", "leased")] == ["ready", "ready"]
            await until(lambda: state(registry, "leased") == "unloaded")

    run(test)
