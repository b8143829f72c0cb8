"""Who calls: API keys as bearer tokens, and the rate and the concurrency that a key is limited to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from fastapi import Request
from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blip_serve.api import docs, playground
from blip_serve.api.errors import answer, note
from blip_serve.api.rates import Rates
from blip_serve.domain import ANYONE, Caller
from blip_serve.errors import RateLimited, ServiceError, Unauthenticated
from blip_serve.keys import KeyRing
from blip_serve.settings import KeySettings, Settings
from blip_serve.telemetry import Telemetry

SCHEMES = {"API key": {"type": "http", "description": "where the service asks for one", "scheme": "bearer"}}
"""The security schemes of the OpenAPI document."""
PROBES = ("/livez", "/readyz", "/health")
METRICS = "/metrics"
CONCURRENCY_RETRY_S = 1


class KeyMiddleware:
    """Lets a request through with a good key only, before a byte of the body is read. Notes its `Caller`."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: KeyRing, rates: Rates, telemetry: Telemetry) -> None:
        self._app = app
        self._settings = settings.auth
        self._asks = settings.auth.asks
        self._open = (
            *PROBES,
            *((METRICS,) if settings.server.metrics == "open" else ()),
            *(docs.PATHS if settings.server.docs == "open" else ()),
            *(playground.PATHS if settings.server.playground == "open" else ()),
        )
        self._keys = keys
        self._rates = rates
        self._in_flight = Counter[str]()
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._asks or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        key = self._keys.find(_bearer(scope))
        if key is None:
            await self._refuse(_unauthenticated(scope), {}, scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = Caller(
            key.name, key.models, key.tasks, flex_only=key.flex_only, manages=key.manage_models
        )
        self._in_flight[key.name] += 1
        try:
            await self._admit(key, scope, receive, send)
        finally:
            self._in_flight[key.name] -= 1

    async def _admit(self, key: KeySettings, scope: Scope, receive: Receive, send: Send) -> None:
        most, rate = key.concurrency or self._settings.concurrency, key.rate or self._settings.rate
        if most is not None and self._in_flight[key.name] > most:
            error = RateLimited(f"This API key is limited to {most} requests at once.", retry_after=CONCURRENCY_RETRY_S)
            await self._refuse(error, {}, scope, receive, send)
            return
        if rate is None:
            await self._app(scope, receive, send)
            return
        standing = await self._rates.take(key.name, rate)
        if standing.admitted:
            await self._app(scope, receive, _with(send, standing.headers))
            return
        error = RateLimited(f"This API key is limited to {rate}.", retry_after=standing.retry_after)
        await self._refuse(error, standing.headers, scope, receive, send)

    async def _refuse(
        self, error: ServiceError, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        note(error, scope, self._telemetry)
        await answer(error)(scope, receive, _with(send, headers))


def caller_of(request: Request) -> Caller:
    """The caller of the request's key. Where no keys are asked for: anyone, told apart by the client's address."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller or replace(ANYONE, address=request.client.host if request.client else "")


def _bearer(scope: Scope) -> str:
    """The key of a request, or nothing."""
    scheme, key = get_authorization_scheme_param(Headers(scope=scope).get("authorization"))
    return key if scheme.lower() == "bearer" else ""


def _unauthenticated(scope: Scope) -> Unauthenticated:
    if _bearer(scope):
        return Unauthenticated("The API key is wrong.")
    return Unauthenticated("No API key given: send 'Authorization: Bearer <key>'.")


def _with(send: Send, headers: Mapping[str, str]) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return send_with
