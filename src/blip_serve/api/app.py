"""The HTTP application: the table of endpoints, middleware, and the service it opens. Importing it needs no torch."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from blip_serve import __version__
from blip_serve.api import (
    chat,
    decisions,
    docs,
    embed,
    embeddings,
    errors,
    explain,
    health,
    match,
    model_routes,
    playground,
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
from blip_serve.api.routing import AnyEndpoint, router_of
from blip_serve.keys import KeyRing
from blip_serve.settings import Settings
from blip_serve.tasks.service import OpenTasks, open_service
from blip_serve.telemetry import Telemetry

ENDPOINTS: Mapping[str, tuple[AnyEndpoint, ...]] = {
    docs.MATCHING: (match.ENDPOINT, score.ENDPOINT, explain.ENDPOINT),
    docs.WRITING: (chat.ENDPOINT, responses.ENDPOINT),
    docs.DECISIONS: (decisions.ENDPOINT,),
    docs.EMBEDDING: (embeddings.ENDPOINT, embed.ENDPOINT, embed.OLDER, rerank.ENDPOINT),
}
"""The endpoints that run tasks, by the documentation's groups. A new endpoint is a file and an entry here."""


class App(FastAPI):
    """FastAPI with another OpenAPI document.

    It has no 422, which FastAPI adds to every route with a parameter: this service answers 400. It says that routes
    need a key. FastAPI would know by itself only if a dependency asked for it, which takes time of each request.
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
    """The application for `settings`. `open_tasks` opens the service it runs on, for as long as the application lives.

    `app.state.tasks` are the service's tasks; a server that is about to stop sets `app.state.draining`.

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
        await asyncio.to_thread(telemetry.close)

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
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # they quote requests
    )
    app.state.settings = settings
    app.state.telemetry = telemetry
    app.state.draining = False
    errors.install(app)
    for tag, endpoints in ENDPOINTS.items():
        app.include_router(router_of(endpoints), tags=[tag])
    app.include_router(model_routes.router, tags=[docs.MODELS])
    app.include_router(health.router, tags=[docs.OPERATION])
    if settings.server.metrics != "off":
        app.include_router(health.metrics_router, tags=[docs.OPERATION])
    if settings.server.docs != "off":
        app.include_router(docs.router)
    if settings.server.playground != "off":
        app.include_router(playground.router)
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
