"""The HTTP application: routes, middleware, and the service that lives as long as it. Importing it imports no torch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI

from blip_serve import __version__
from blip_serve.api import (
    chat,
    decisions,
    embeddings,
    errors,
    health,
    match,
    models,
    rerank,
    responses,
    score,
)
from blip_serve.api.auth import require_key
from blip_serve.api.middleware import BodyLimitMiddleware, DisconnectMiddleware, RequestMiddleware
from blip_serve.images.fetch import Fetcher
from blip_serve.loading import Loader
from blip_serve.settings import Settings
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry


class App(FastAPI):
    """FastAPI, less the 422 it documents on every route with a parameter: this service answers 400."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        return document


def create_app(settings: Settings, load: Loader | None = None, fetcher: Fetcher | None = None) -> FastAPI:
    """The application for `settings`; its service lives as long. `load` and `fetcher` as `open_service` has them.

    `app.state.tasks` are the running service's.
    """
    telemetry = Telemetry(settings.log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(settings, telemetry, load, fetcher) as tasks:
            app.state.tasks = tasks
            yield

    app = App(
        title="blip-serve",
        version=__version__,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.telemetry = telemetry
    errors.install(app)
    for endpoint in (match, decisions, chat, responses, embeddings, rerank, score, models):
        app.include_router(endpoint.router, dependencies=[Depends(require_key)])
    app.include_router(health.router)
    app.add_middleware(
        BodyLimitMiddleware, limit=settings.server.max_body_bytes, total=settings.server.max_bodies_bytes
    )
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(RequestMiddleware, telemetry=telemetry)
    return app
