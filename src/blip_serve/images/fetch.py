"""Fetches an image by URL, with protection against server-side request forgery. Does not look at the bytes.

Uses HTTP/1.1 through httpcore only. It takes no proxies and no certificates from the environment, has no cookies, does
not decompress, and follows redirects by its own rules. httpx only parses URLs.
"""

import asyncio
import ssl
from urllib.parse import urljoin

import httpcore
import httpx

from blip_serve.errors import ImageHostBusy, InvalidInput
from blip_serve.images.addresses import is_public
from blip_serve.images.destinations import WEB_PORTS, Allow, Destinations
from blip_serve.images.dial import BlockedAddressError, Dialler
from blip_serve.images.reference import too_many_bytes
from blip_serve.images.resolve import Resolve, Resolver
from blip_serve.images.url import blocked, parse_url
from blip_serve.settings import FetchSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({429, 502, 503, 504})
_FAILED = "image_fetch_failed"
_PAGES = ("text/html", "application/xhtml+xml")
_FREE_PIECES = 1000
_MIN_PIECE_BYTES = 256
"""The first `_FREE_PIECES` chunks of a body may have any size. Further chunks must be this large on average."""
_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, OSError)


class Fetcher:
    """Fetches images, at most `settings.max_concurrent` at once. Checks each hop against the settings' lists of hosts.

    `allow`: which addresses are allowed; default: the public internet. `ports`: which ports; default: 80 and 443.
    `resolve`: looks up names; default: the system's resolver. `tls`: verifies certificates; default: certifi's roots.
    """

    def __init__(
        self,
        settings: FetchSettings,
        max_bytes: int,
        *,
        allow: Allow = is_public,
        ports: frozenset[int] = WEB_PORTS,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._max_bytes = max_bytes
        self._destinations = Destinations(settings, allow=allow, ports=ports)
        self._fetches = asyncio.Semaphore(settings.max_concurrent)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(trust_env=False),
            max_connections=settings.max_concurrent,
            max_keepalive_connections=0,  # every request opens a new connection, which is checked
            network_backend=Dialler(resolve or Resolver(settings.max_concurrent), self._destinations.may_dial),
        )

    async def fetch(self, url: str, param: str) -> bytes:
        """The body at `url`, after redirects: at most `max_bytes`, within `settings.timeout_s` seconds in total.

        Raises `InvalidInput`: `url_fetch_disabled`, `blocked_url`, `too_many_redirects`, `image_fetch_timeout`,
        `image_too_large`, `image_fetch_failed`, and those of `parse_url`.
        """
        if not self._settings.enabled:
            raise InvalidInput("Images by URL are switched off here.", code="url_fetch_disabled", param=param)
        try:
            # the time to wait for other fetches is not counted here: the request's deadline limits it
            async with self._fetches, asyncio.timeout(self._settings.timeout_s):
                return await self._follow(url, param)
        except BlockedAddressError as error:
            raise blocked(param) from error
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise InvalidInput(
                "The image's server did not deliver it in time.", code="image_fetch_timeout", param=param
            ) from error
        except _FAILURES as error:
            raise _failed("The image's server could not be reached or broke off.", param) from error

    async def aclose(self) -> None:
        """Closes all connections. Nothing can be fetched afterwards."""
        await self._pool.aclose()

    async def _follow(self, url: str, param: str) -> bytes:
        target = parse_url(url, param)
        for _ in range(self._settings.max_redirects + 1):
            answer = await self._get(target, param)
            if isinstance(answer, bytes):
                return answer
            target = answer
        raise InvalidInput("The image's URL redirects too often.", code="too_many_redirects", param=param)

    async def _get(self, target: httpx.URL, param: str) -> bytes | httpx.URL:
        """The body, or the URL that the server redirects to."""
        if not self._destinations.may_ask(target.raw_host.decode("ascii"), _port(target)):
            raise blocked(param)
        async with self._pool.stream(
            "GET",
            httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path),
            headers=_headers(target),
            extensions={"timeout": {"connect": self._settings.timeout_s}},
        ) as response:
            headers = httpx.Headers(response.headers)
            if response.status in _REDIRECTS:
                return _next_hop(target, headers, param)
            _check_answer(response.status, headers, param)
            return await self._body(response, headers, param)

    async def _body(self, response: httpcore.Response, headers: httpx.Headers, param: str) -> bytes:
        if int(headers.get("content-length", 0)) > self._max_bytes:
            raise too_many_bytes(self._max_bytes, param)
        response.extensions["network_stream"].head_ended()
        body, pieces = bytearray(), 0
        async for piece in response.aiter_stream():
            body += piece
            pieces += 1
            if len(body) > self._max_bytes:  # even if `content-length` was smaller
                raise too_many_bytes(self._max_bytes, param)
            if pieces > _FREE_PIECES + len(body) // _MIN_PIECE_BYTES:  # each chunk costs the event loop about 20 us
                raise _failed("The image's server sends it in too small pieces.", param)
        return bytes(body)


def _port(url: httpx.URL) -> int:
    if url.port is None:
        return 443 if url.scheme == "https" else 80
    return url.port


def _headers(target: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", target.netloc),
        (b"User-Agent", b"blip-serve"),
        (b"Accept", b"image/*"),
        (b"Accept-Encoding", b"identity"),
        (b"Connection", b"close"),
    ]


def _next_hop(target: httpx.URL, headers: httpx.Headers, param: str) -> httpx.URL:
    location = headers.get("location")
    if not location:
        raise _failed("The image's server redirects to nowhere.", param)
    try:
        return parse_url(urljoin(str(target), location), param)
    except ValueError as error:
        raise _failed("The image's server redirects to something that is not a URL.", param) from error


def _check_answer(status: int, headers: httpx.Headers, param: str) -> None:
    if status != 200:
        error = ImageHostBusy if status in _BUSY else InvalidInput
        raise error(f"The image's server answered {status}.", code=_FAILED, param=param)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _failed("The image's server answered compressed, though asked not to.", param)
    if headers.get("content-type", "").lower().startswith(_PAGES):
        raise _failed("The image's URL leads to a web page.", param)


def _failed(message: str, param: str) -> InvalidInput:
    return InvalidInput(message, code=_FAILED, param=param)
