"""What the service on a Ray cluster is made of, without a cluster."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed")

from ray import serve
from ray.exceptions import ActorDiedError, TaskCancelledError
from ray.serve._private.common import DeploymentID, DeploymentStatus, DeploymentStatusTrigger, ReplicaState
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatusOverview,
    ServeDeploySchema,
    ServeStatus,
)

from blip_serve.catalogue import EMBEDDED, ModelCard
from blip_serve.directory import State
from blip_serve.domain import ANYONE, Caption, GenerationOptions
from blip_serve.errors import (
    CheckpointError,
    ConfigurationError,
    DeadlineExceeded,
    Overloaded,
    PermissionDenied,
    ServiceError,
    Unavailable,
)
from blip_serve.images.reference import Base64Image, BytesImage, UrlImage
from blip_serve.ray import build
from blip_serve.ray.affinity import affinity
from blip_serve.ray.application import deployment_name
from blip_serve.ray.deployments import Deployed, Deployments
from blip_serve.ray.remote import Remote
from blip_serve.ray.replica import Replica
from blip_serve.settings import ModelSettings, ServerSettings, Settings
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.generate import Began, GenerateRequest
from blip_serve.tasks.match import MatchRequest, MatchResult
from blip_serve.tasks.request import Usage
from blip_serve.tasks.rerank import RerankRequest
from blip_serve.telemetry import Telemetry
from tests.support.pictures import encoded, picture
from tests.support.server import QUIET, settings
from tests.support.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.deploy

CHECKPOINT = EMBEDDED / "demo-retrieval"
PICTURE = BytesImage(encoded(picture(1)), "image")
IMAGE = BytesImage(b"an image", "image")
WORDS = Caption("a star", "caption")
BEGAN = Began("a", "hf", Usage(1, 1, 0))


class Endless:
    """A handle, and what its calls return: a result that never comes, or a stream that never ends."""

    app_name = "app"
    deployment_name = "deployment"

    def __init__(self) -> None:
        self.cancelled = False

    def options(self, **_: object) -> "Endless":
        return self

    def remote(self, *_: object) -> "Endless":
        return self

    @property
    def card(self) -> "Endless":
        return self

    def cancel(self) -> None:
        self.cancelled = True

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.Event().wait().__await__()  # type: ignore[return-value]

    def __aiter__(self) -> AsyncIterator[Began]:
        return self

    async def __anext__(self) -> Began:
        return BEGAN


def deployments(handle: Endless) -> Deployments:
    """Those of one settings' models, all ready, and all behind `handle`."""
    known = Settings(catalogue=False, log=QUIET)
    handles = dict.fromkeys((model.id for model in known.models), cast(DeploymentHandle, handle))
    found = Deployments(known, Telemetry(known.log), handles)
    for deployed in found.directory.entries.values():
        deployed.state = "ready"
    return found


def states(found: Deployments) -> set[State]:
    return {model.state for model in found.directory.statuses()}


def serve_says(replicas: dict[ReplicaState, int], status: str, trigger: str) -> ServeStatus:
    """Serve's status of an application with `Endless`'s deployment."""
    deployment = DeploymentStatusOverview(DeploymentStatus(status), DeploymentStatusTrigger(trigger), replicas, "")
    running = ApplicationStatus.RUNNING
    return ServeStatus(applications={"app": ApplicationStatusOverview(running, "", 0, {"deployment": deployment})})


def test_the_configuration_names_every_deployment() -> None:
    text = (Path(__file__).parents[2] / "configs" / "ray.yaml").read_text(encoding="utf-8")
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    models = [deployment_name(model["id"]) for model in application.args["models"]]
    assert [deployment.name for deployment in application.deployments] == ["gateway", *models]
    build(application.args)


def test_as_many_requests_wait_for_a_gateway_as_a_server_has_connections() -> None:
    gateway = build({"auth": {"no_auth": True}, "server": {"max_connections": 7}})._bound_deployment
    assert (gateway.max_ongoing_requests, gateway.max_queued_requests) == (7, 7)


def test_who_may_call_must_be_said() -> None:
    with pytest.raises(ConfigurationError, match="auth"):
        build({})
    with pytest.raises(ConfigurationError, match=r"server\.port"):
        build({"server": {"port": "none"}})


def test_the_gateway_has_no_torch() -> None:
    code = "import blip_serve.ray, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_what_nobody_waits_for_is_cancelled() -> None:
    async def run() -> None:
        late, left, closed = Endless(), Endless(), Endless()
        match = Remote(deployments(late), ServerSettings(request_timeout_s=0.01))
        with pytest.raises(DeadlineExceeded):
            await match.run(MatchRequest((IMAGE,), (WORDS,)))
        assert late.cancelled
        match = Remote(deployments(left), ServerSettings())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(match.run(MatchRequest((IMAGE,), (WORDS,))), 0.01)
        assert left.cancelled
        generate = Remote(deployments(closed), ServerSettings())
        async with aclosing(generate.stream(GenerateRequest(IMAGE, WORDS, GenerationOptions()))) as events:
            assert await anext(events) == BEGAN
            assert not closed.cancelled
        assert closed.cancelled

    asyncio.run(run())


def test_a_task_that_the_caller_may_not_use_reaches_no_replica() -> None:
    caller = replace(ANYONE, tasks=("embed",))

    class Untouched(Endless):
        def remote(self, *_: object) -> Endless:
            raise AssertionError

    async def run() -> None:
        tasks = Remote(deployments(Untouched()), ServerSettings())
        for asking in (
            tasks.run(MatchRequest((IMAGE,), (WORDS,)), caller),
            anext(tasks.stream(GenerateRequest(IMAGE, WORDS), caller)),
        ):
            with pytest.raises(PermissionDenied, match="may not use the task"):
                await asking

    asyncio.run(run())


@pytest.mark.parametrize(
    ("replicas", "status", "trigger", "state"),
    [
        ({}, "HEALTHY", "UNSPECIFIED", "unloaded"),
        ({}, "UPSCALING", "AUTOSCALING", "loading"),
        ({"STARTING": 1}, "UPSCALING", "AUTOSCALING", "loading"),
        ({"STOPPING": 1}, "UNHEALTHY", "HEALTH_CHECK_FAILED", "loading"),
        ({"STARTING": 1}, "UNHEALTHY", "REPLICA_STARTUP_FAILED", "loading"),
        ({"STOPPING": 1}, "UNHEALTHY", "REPLICA_STARTUP_FAILED", "failed"),
        ({}, "DEPLOY_FAILED", "REPLICA_STARTUP_FAILED", "failed"),
        ({"RUNNING": 1, "STARTING": 1}, "UNHEALTHY", "REPLICA_STARTUP_FAILED", "ready"),
        ({"RECOVERING": 1}, "UPDATING", "CONFIG_UPDATE_STARTED", "ready"),
        ({"UPDATING": 1}, "UPDATING", "CONFIG_UPDATE_STARTED", "ready"),
        ({"PENDING_MIGRATION": 1}, "HEALTHY", "UNSPECIFIED", "ready"),
    ],
)
def test_a_models_state_is_that_of_its_replicas(
    replicas: dict[str, int], status: str, trigger: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = {ReplicaState(name): count for name, count in replicas.items()}
    monkeypatch.setattr(serve, "status", lambda: serve_says(counted, status, trigger))
    found = deployments(Endless())
    asyncio.run(found.look())
    assert states(found) == {state}


def test_a_card_that_never_comes_is_given_up_and_holds_up_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        late = Endless()
        found = deployments(late)
        watching = asyncio.create_task(found.watch())
        await asyncio.to_thread(wait_until, lambda: states(found) == {"loading"})
        assert not late.cancelled
        watching.cancel()
        await asyncio.wait({watching})
        assert late.cancelled
        late = Endless()
        monkeypatch.setattr("blip_serve.ray.deployments.CARD_S", 0.01)
        await deployments(late).ask_for_cards()
        assert late.cancelled

    monkeypatch.setattr("blip_serve.ray.deployments.LOOK_S", 0.01)
    monkeypatch.setattr(serve, "status", lambda: serve_says({ReplicaState.STARTING: 1}, "UPDATING", "UNSPECIFIED"))
    asyncio.run(run())


class LocalReplica(Replica):
    """A replica of this process: Python, which is not Serve, awaits no `__del__`."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


@asynccontextmanager
async def replica(source: Path, **given: Any) -> AsyncIterator[Replica]:
    """A replica of the checkpoint at `source`, made and ended as Serve does."""
    made = LocalReplica.__new__(LocalReplica)
    await made.__init__(settings(models=({"id": "a/b", "source": str(source), "preload": True},), **given))  # type: ignore[misc]
    try:
        yield made
    finally:
        await Replica.__del__(made)


def test_a_replica_tries_again_to_load_for_as_long_as_a_request_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"

    async def run() -> None:
        threading.Timer(0.2, late.symlink_to, (CHECKPOINT,)).start()
        async with replica(late, server={"request_timeout_s": WAIT_S}) as loaded:
            result = await loaded.run(MatchRequest((PICTURE,), (WORDS,)), ANYONE, {})
            assert isinstance(result, MatchResult)
            await loaded.check_health()
        with pytest.raises(CheckpointError, match="no such folder"):
            async with replica(tmp_path / "never", server={"request_timeout_s": 0.2}):
                pass

    monkeypatch.setattr("blip_serve.ray.replica.PAUSE_S", 0.05)
    asyncio.run(run())


async def check_until(done: asyncio.Task[object], replica: Replica) -> None:
    while not done.done():
        await replica.check_health()
        await asyncio.sleep(0)


def test_a_replica_whose_device_is_stuck_is_not_healthy() -> None:
    async def run() -> None:
        async with replica(CHECKPOINT, engine={"stall_after_s": 0.001}) as loaded:
            captions = tuple(Caption(f"a star {i}", "captions") for i in range(1000))
            busy = asyncio.create_task(loaded.run(MatchRequest((PICTURE,), captions), ANYONE, {}))
            with pytest.raises(RuntimeError, match="the device makes no progress"):
                await check_until(busy, loaded)
            assert isinstance(await busy, MatchResult)

    asyncio.run(run())


def test_requests_about_one_image_have_one_key() -> None:
    text, image, other = WORDS, IMAGE, BytesImage(b"another", "image")
    about = {
        affinity(MatchRequest((image, other), (text,))),
        affinity(EmbedRequest((text, image))),
        affinity(RerankRequest(text, (image, other))),
        affinity(GenerateRequest(replace(image, param="messages"), text, GenerationOptions())),
    }
    assert len(about) == 1
    assert about.isdisjoint({affinity(EmbedRequest((other,))), affinity(EmbedRequest((text,)))})
    assert affinity(EmbedRequest((text,))) == ""
    long = Base64Image("a" * 1_000_000, "image")
    assert affinity(EmbedRequest((long,))) != affinity(EmbedRequest((replace(long, text=long.text + "a"),)))
    assert affinity(EmbedRequest((UrlImage("http://a/b", "image"),)))


@pytest.mark.parametrize(
    ("raised", "state", "kind", "code"),
    [
        (TimeoutError(), "ready", DeadlineExceeded, "deadline_exceeded"),
        (TimeoutError(), "loading", Unavailable, "loading"),
        (TimeoutError(), "failed", Unavailable, "load_failed"),
        (ActorDiedError(), "ready", Unavailable, "unavailable"),
        (TaskCancelledError(), "ready", Unavailable, "unavailable"),
        (BackPressureError(2, 1), "ready", Overloaded, "overloaded"),
        (DeploymentUnavailableError(DeploymentID("a")), "failed", Unavailable, "load_failed"),
    ],
)
def test_faults_of_the_cluster_are_errors_of_the_service(
    raised: Exception, state: State, kind: type[ServiceError], code: str
) -> None:
    model = ModelSettings(id="a")
    deployed = Deployed(model, ModelCard("a"), state=state, handle=DeploymentHandle("a", "b"))
    with pytest.raises(kind) as caught, deployed.faults():
        raise raised
    assert caught.value.code == code
    assert (caught.value.retry_after is None) == (code in ("deadline_exceeded", "load_failed"))
