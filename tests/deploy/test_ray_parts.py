"""What the service on a Ray cluster is made of, without a cluster."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed")

from ray.exceptions import ActorDiedError, TaskCancelledError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ServeDeploySchema

from blip_serve.catalogue import ModelCard
from blip_serve.directory import Directory, State
from blip_serve.domain import ANYONE, Caption, GenerationOptions
from blip_serve.errors import ConfigurationError, DeadlineExceeded, Overloaded, ServiceError, Unavailable
from blip_serve.images.reference import Base64Image, BytesImage, UrlImage
from blip_serve.ray import build
from blip_serve.ray.affinity import affinity
from blip_serve.ray.application import deployment_name
from blip_serve.ray.deployments import Deployed, Deployments
from blip_serve.ray.remote import Remote, RemoteGenerate
from blip_serve.settings import ModelSettings, Settings
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.generate import Began, Generate, GenerateRequest
from blip_serve.tasks.match import Match, MatchRequest, MatchResult
from blip_serve.tasks.rerank import RerankRequest
from blip_serve.tasks.usage import Usage

pytestmark = pytest.mark.deploy

IMAGE = BytesImage(b"an image", "image")
WORDS = Caption("a star", "caption")
BEGAN = Began("a", "hf", Usage(1, 1, 0))


class Endless:
    """A handle, and what its calls return: a result that never comes, or a stream that never ends."""

    def __init__(self) -> None:
        self.cancelled = False

    def options(self, **_: object) -> "Endless":
        return self

    def remote(self, *_: object) -> "Endless":
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
    """Those of one settings' models, all behind `handle`."""

    def make(model: ModelSettings, card: ModelCard) -> Deployed:
        return Deployed(model, card, state="ready", handle=handle)

    return cast(Deployments, SimpleNamespace(directory=Directory(Settings(catalogue=False), make)))


def test_the_configuration_names_every_deployment() -> None:
    text = (Path(__file__).parents[2] / "configs" / "ray.yaml").read_text(encoding="utf-8")
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    models = [deployment_name(model["id"]) for model in application.args["models"]]
    assert [deployment.name for deployment in application.deployments] == ["gateway", *models]
    build(application.args)


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
        match: Remote[MatchRequest, MatchResult] = Remote("match", Match.needs, deployments(late), 0.01, ANYONE)
        with pytest.raises(DeadlineExceeded):
            await match.run(MatchRequest((IMAGE,), (WORDS,)))
        assert late.cancelled
        match = Remote("match", Match.needs, deployments(left), 60, ANYONE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(match.run(MatchRequest((IMAGE,), (WORDS,))), 0.01)
        assert left.cancelled
        generate = RemoteGenerate("generate", Generate.needs, deployments(closed), 60, ANYONE)
        async with aclosing(generate.stream(GenerateRequest(IMAGE, WORDS, GenerationOptions()))) as events:
            assert await anext(events) == BEGAN
            assert not closed.cancelled
        assert closed.cancelled

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
