"""A replica that serves HTTP: the usual application, with the models' deployments as its tasks."""

from collections.abc import Mapping
from functools import partial

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blip_serve.api.app import create_app
from blip_serve.ray.remote import open_remote
from blip_serve.settings import Settings


@serve.ingress()
class Gateway:
    """The HTTP replica. It has no model and does not import torch."""

    def __init__(self, settings: Settings, replicas: Mapping[str, DeploymentHandle]) -> None:
        """`replicas`: the deployment of each model, by its id."""
        self._settings = settings
        self._replicas = replicas

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application. Serve calls this after it has created the replica."""
        app = create_app(self._settings, partial(open_remote, replicas=self._replicas))
        app.add_middleware(OneRequestId)
        return app


class OneRequestId:
    """Removes `x-request-id` from the response, because Serve's proxy, which set the id, adds the header again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["x-request-id"]
            await send(message)

        await self._app(scope, receive, send_without_id)
