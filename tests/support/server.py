"""The service on a free port of loopback, as uvicorn serves it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import openai
import uvicorn
from fastapi import FastAPI

from blip_serve.api.app import create_app
from blip_serve.api.server import uvicorn_config
from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel
from blip_serve.images.fetch import Fetcher
from blip_serve.keys import digest
from blip_serve.loading import Loader
from blip_serve.settings import LogSettings, ModelSettings, Settings
from blip_serve.tasks.service import open_service
from tests.support.making import Making
from tests.support.waiting import STARTED_S, WAIT_S, wait_until

QUIET = LogSettings(level="error")
FAKE = ModelSettings(id="test/fake", aliases=("fake",), preload=True)


@dataclass(frozen=True)
class Service:
    """A running service: where it is, and a client."""

    url: str
    app: FastAPI
    client: httpx.Client

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry `labels`."""
        lines = self.client.get("/metrics").text.splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [
            line
            for line in lines
            if line.startswith((f"blip_serve_{name}{{", f"blip_serve_{name} ")) and all(part in line for part in wanted)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in found)


def settings(**given: Any) -> Settings:
    """Settings of one preloaded model, quiet, on the CPU in float32."""
    chosen: dict[str, Any] = {"log": QUIET, "device": "cpu", "dtype": "float32", "catalogue": False} | given
    return Settings(**chosen)


def fake_settings(**given: Any) -> Settings:
    """Settings whose one model is the fake."""
    return settings(**({"models": (FAKE,)} | given))


def always(model: AnyModel) -> Loader:
    """A loader of one model, whatever is asked for."""

    def load(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        return model, card

    return Making(load)


Load = Callable[[ModelSettings, ModelCard], tuple[AnyModel, ModelCard]]


@contextmanager
def serving(
    chosen: Settings, load: Loader | Load | None = None, *, fetcher: Fetcher | None = None, ready: bool = True
) -> Iterator[Service]:
    """Serves while inside. `load` may be a function that makes models. Waits until it is ready, if asked to."""
    loader = Making(load) if callable(load) else load
    app = create_app(chosen, partial(open_service, loader=loader, fetcher=fetcher))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn_config(app)
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=WAIT_S, trust_env=False) as client:
            wait_until(lambda: server.started)
            if ready:
                wait_until(lambda: client.get("/readyz").status_code == 200, STARTED_S)
            yield Service(url, app, client)
    finally:
        app.state.draining = True  # as `Server` does
        server.should_exit = True
        thread.join(WAIT_S)
        listener.close()


def with_key(key: str, **more: Any) -> dict[str, Any]:
    """Settings under `auth` of one key."""
    return {"keys": ({"name": "tester", "sha256": digest(key)} | more,)}


@contextmanager
def sdk(service: Service, key: str = "unused") -> Iterator[openai.OpenAI]:
    """The OpenAI client, which tries everything once."""
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=key, max_retries=0, timeout=WAIT_S) as client:
        yield client


def in_threads(calls: list[Callable[[], Any]]) -> list[Any]:
    """The results of calls made all at once, each from its own thread."""
    results: list[Any] = [None] * len(calls)

    def call(i: int) -> None:
        results[i] = calls[i]()

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return results
