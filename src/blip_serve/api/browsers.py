"""Which web pages may use the service from a browser: its own, and those of `server.cors_origins`.

A browser sends a page's requests wherever the page says, from behind any firewall. So every page could reach a service
on loopback that asks for no key. Clients that are not browsers send no `Origin`; none of this applies to them.
"""

import re
from functools import lru_cache
from typing import Literal

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from blip_serve.api.errors import answer, note
from blip_serve.errors import InvalidInput, PermissionDenied, ServiceError
from blip_serve.hosts import is_loopback
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

METHODS = ("GET", "HEAD", "POST", "DELETE")
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
EXPOSED = (
    "x-request-id",
    "server-timing",
    "retry-after",
    "x-should-retry",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)
"""Headers that a page may read."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]*)?")


class Cors(CORSMiddleware):
    """Starlette's, for pages of `origins`; their preflights are answered before a key is asked for.

    Preflights of other pages pass through. No route takes their method, and they are answered so.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or self.is_allowed_origin(origin):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class OriginMiddleware:
    """Refuses requests of pages from other origins with a method that changes something, and DNS rebinding.

    DNS rebinding: a page whose host name was made to resolve to this machine. Its requests have that name as `Host`.
    """

    def __init__(self, app: ASGIApp, settings: Settings, telemetry: Telemetry) -> None:
        origins = settings.server.cors_origins
        self._app = app
        self._telemetry = telemetry
        self._origins = frozenset(origins)
        self._hosts = frozenset(_name(origin.partition("://")[2]) for origin in origins)
        self._keyless = not settings.auth.asks
        self._known = lru_cache(maxsize=64)(self._look_up)  # a host is the same one time after time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._fault(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            note(error, scope, self._telemetry)
            await answer(error)(scope, receive, send)

    def _fault(self, scope: Scope) -> ServiceError | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) > 1 or not (hosts or scope["http_version"] == "1.0"):
            return InvalidInput("A request has one header Host.", code="invalid_host", param="host")
        host = hosts[0].lower() if hosts else ""
        guarded = bool(hosts) and self._keyless and _on_loopback(scope)
        known = self._known(host) if guarded else "own"
        if known is None:
            return PermissionDenied(
                "Without keys, what comes over loopback must be addressed to localhost or a loopback address, or to a "
                "host of server.cors_origins.",
                code="host_not_allowed",
                param="host",
            )
        own = host if known == "own" else ""  # a listed host's pages are named by their whole origins
        if scope["method"] not in SAFE and self._is_foreign(headers, scope["scheme"], own):
            return PermissionDenied(
                "This page's origin may not use the service; server.cors_origins says which may.",
                code="origin_not_allowed",
                param="origin",
            )
        return None

    def _look_up(self, host: str) -> Literal["own", "listed"] | None:
        """Whether `host` is a name of this machine, or one listed in the settings."""
        name = _name(host)
        if is_loopback(name):
            return "own"
        return "listed" if name in self._hosts else None

    def _is_foreign(self, headers: Headers, scheme: str, host: str) -> bool:
        """Whether a page of another origin sent this."""
        origins = headers.getlist("origin")
        if not origins:
            return headers.get("sec-fetch-site") in ("cross-site", "same-site")
        return "*" not in self._origins and not all(
            origin in self._origins or _is_ours(origin, scheme, host) for origin in origins
        )


def _is_ours(origin: str, scheme: str, host: str) -> bool:
    """Whether an origin is the request's own: https, too, where a proxy ended TLS and passed the request on as http."""
    own, _, authority = origin.partition("://")
    port = ":443" if own == "https" else ":80"
    return own in (scheme, "https") and authority.removesuffix(port) == host.removesuffix(port)


def _name(host: str) -> str:
    """A host without its port; empty where it is not a host."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]") if found else ""


def _on_loopback(scope: Scope) -> bool:
    """Whether the request came to a loopback address."""
    address, _ = scope.get("server") or ("", None)
    return _is_loopback(address)


@lru_cache(maxsize=64)
def _is_loopback(address: str) -> bool:
    return is_loopback(address)
