"""Connections to one server: bounded, kept alive, and with limits of time and of size."""

import asyncio
from types import MappingProxyType
from typing import TypeVar

import httpx
from opentelemetry import propagate
from pydantic import BaseModel, ValidationError

from blip_serve.errors import ConfigurationError, DeadlineExceeded, Unavailable
from blip_serve.remote.errors import Rename, error_of, not_ours

AnswerT = TypeVar("AnswerT", bound=BaseModel)

CONNECTIONS = 64
"""Connections at once, by default. Requests beyond wait for one."""
ANSWER_BYTES = 16 * 1024 * 1024
"""The largest answer that is read. That of one picture is below 1 MiB; with 20 log-probabilities of each of 512 tokens
of 16 texts, the most by default, it is 13 MB."""
CONNECT_S = 10.0
SEND_S = 60.0
ANSWER_S = 660.0
"""Seconds of a whole exchange: more than `server.background_timeout_s`, so that the server's own error comes first."""
KEEP_S = 30.0
"""Seconds that an idle connection is kept: less than `server.keep_alive_s`."""
PLAIN = MappingProxyType({"accept-encoding": "identity"})
"""The server does not compress. What does in between is refused: few bytes could stand for very many."""
JSON = MappingProxyType({"content-type": "application/json"})


class Connection:
    """A client of the server at `url`, such as `http://localhost:8000`; a path before `/v1` is kept.

    `key`: sent as a bearer token. `answer_s`: seconds after which a request fails.
    Raises `ConfigurationError` for what is no http(s) URL.
    """

    def __init__(
        self, url: str, key: str | None = None, connections: int = CONNECTIONS, answer_s: float = ANSWER_S
    ) -> None:
        base = _base(url)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ConfigurationError("The API key holds characters that no key has.")
        self.server = str(base)
        self._answer_s = answer_s
        self._client = httpx.AsyncClient(
            base_url=base,
            headers=PLAIN if key is None else {**PLAIN, "authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=CONNECT_S, write=SEND_S),
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_S
            ),
        )

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def get(self, path: str, answer: type[AnswerT]) -> AnswerT:
        """The answer to `GET`. Raises what `post` raises."""
        response = await self._send(self._client.build_request("GET", path))
        return self._read(path, response, answer, str)

    async def post(
        self, path: str, content: bytes, headers: dict[str, str], answer: type[AnswerT], rename: Rename
    ) -> tuple[AnswerT, httpx.Headers]:
        """The answer to a JSON body, and its headers.

        Raises the `ServiceError` that the server tells of, its field renamed; `Unavailable` for a lost connection;
        `ConfigurationError` where this is no blip-serve.
        """
        sent = {**JSON, **headers}
        propagate.inject(sent)  # the trace that this belongs to, if any: `traceparent`
        request = self._client.build_request("POST", path, content=content, headers=sent)
        response = await self._send(request)
        return self._read(path, response, answer, rename), response.headers

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The response, read whole. A longer one than `ANSWER_BYTES` is cut off."""
        try:
            async with asyncio.timeout(self._answer_s):  # in all: a server may send a byte now and then
                return await self._exchange(request)
        except TimeoutError:
            raise DeadlineExceeded(f"{self.server} did not answer within {self._answer_s:g} s.") from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"No answer of {self.server}: {reason[:200]}.", code="connection_lost") from None

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        response = await self._client.send(request, stream=True)
        try:
            content = await self._content(response)
        finally:
            await response.aclose()
            response.stream = httpx.ByteStream(b"")  # breaks the cycle that would keep the request's pictures
        kept = [(k, v) for k, v in response.headers.multi_items() if k not in ("content-encoding", "content-length")]
        return httpx.Response(response.status_code, headers=kept, content=content)

    async def _content(self, response: httpx.Response) -> bytes:
        """The bytes as they were sent. Those of a compressed error are as good as none."""
        if response.is_success and response.headers.get("content-encoding", "identity").lower() != "identity":
            raise not_ours(self.server, "compressed, though asked not to")
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > ANSWER_BYTES:
                raise not_ours(self.server, f"with more than {ANSWER_BYTES} bytes")
        return bytes(content)

    def _read(self, path: str, response: httpx.Response, answer: type[AnswerT], rename: Rename) -> AnswerT:
        if response.status_code != httpx.codes.OK:
            raise error_of(response.status_code, response.headers, response.content, self.server, rename)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError:
            kind = response.headers.get("content-type", "no type")[:100]
            raise not_ours(self.server, f"{path} with {len(response.content)} bytes of {kind}") from None


def _base(url: str) -> httpx.URL:
    try:
        base = httpx.URL(url.rstrip("/").removesuffix("/v1"))
    except httpx.InvalidURL:
        base = httpx.URL("")
    known = base.scheme in ("http", "https") and base.host and 0 < (base.port or 80) < 65536
    if not known or base.query or base.fragment or base.userinfo:
        raise ConfigurationError("The server's URL reads http://HOST:PORT or https://HOST; the key is given apart.")
    return base
