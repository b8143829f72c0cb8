"""The HTTP application: routes, middleware, and the service that lives as long as it. Importing it imports no torch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

from fastapi import APIRouter, FastAPI

from blip_serve import __version__
from blip_serve.api import (
    chat,
    decisions,
    docs,
    embed,
    embeddings,
    errors,
    health,
    match,
    models,
    rerank,
    responses,
    score,
)
from blip_serve.api.auth import METRICS, PROBES, SCHEMES, KeyMiddleware
from blip_serve.api.browsers import Cors, OriginMiddleware
from blip_serve.api.middleware import (
    BodyLimitMiddleware,
    DisconnectMiddleware,
    HeadMiddleware,
    RequestMiddleware,
)
from blip_serve.api.rates import Rates
from blip_serve.keys import KeyRing
from blip_serve.settings import Settings
from blip_serve.tasks.service import OpenTasks, open_service
from blip_serve.telemetry import Telemetry

ENDPOINTS: dict[str | Enum, tuple[APIRouter, ...]] = {
    docs.MATCHING: (match.router, score.router),
    docs.WRITING: (chat.router, responses.router),
    docs.DECISIONS: (decisions.router,),
    docs.EMBEDDING: (embeddings.router, embed.router, rerank.router),
    docs.MODELS: (models.router,),
    docs.OPERATION: (health.router,),
}
"""The endpoints by the groups of the documentation."""


class App(FastAPI):
    """FastAPI, less the 422 it documents on every route with a parameter (this service answers 400), and with its keys.

    Middleware asks for the keys: FastAPI documents those that a dependency asks for, which takes time of each request.
    """

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["securitySchemes"] = SCHEMES
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                if path not in (*PROBES, METRICS):
                    operation["security"] = [{name: []} for name in SCHEMES]
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        return document


def create_app(settings: Settings, open_tasks: OpenTasks = open_service) -> FastAPI:
    """The application for `settings`; its service lives as long. `open_tasks` may open it elsewhere.

    `app.state.tasks` are the running service's; `app.state.draining` is set by the server that is about to stop.

    Raises `ConfigurationError` for a file of keys that cannot be used.
    """
    telemetry = Telemetry(settings.log)
    keys = KeyRing(settings.auth, telemetry)
    rates = Rates(settings.auth.redis_url, telemetry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_tasks(settings, telemetry) as tasks:
            app.state.tasks = tasks
            watch = asyncio.create_task(keys.watch())
            try:
                yield
            finally:
                watch.cancel()
                await rates.aclose()

    app = App(
        title="blip-serve",
        description=docs.INTRODUCTION,
        openapi_tags=docs.TAGS,
        version=__version__,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        openapi_url=None if settings.server.docs == "off" else docs.DOCUMENT,
        docs_url=None,  # FastAPI's pages load theirs from other hosts
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.telemetry = telemetry
    app.state.draining = False
    errors.install(app)
    for tag, endpoints in ENDPOINTS.items():
        for endpoint in endpoints:
            app.include_router(endpoint, tags=[tag])
    if settings.server.metrics != "off":
        app.include_router(health.metrics_router, tags=[docs.OPERATION])
    if settings.server.docs != "off":
        app.include_router(docs.router)
    app.add_middleware(HeadMiddleware)  # the innermost; the last is the outermost
    app.add_middleware(
        BodyLimitMiddleware, limit=settings.server.max_body_bytes, total=settings.server.max_bodies_bytes
    )
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(KeyMiddleware, settings=settings, keys=keys, rates=rates, telemetry=telemetry)
    app.add_middleware(OriginMiddleware, settings=settings, telemetry=telemetry)
    app.add_middleware(RequestMiddleware, telemetry=telemetry)
    if settings.server.cors_origins:
        app.add_middleware(Cors, origins=settings.server.cors_origins)
    return app
