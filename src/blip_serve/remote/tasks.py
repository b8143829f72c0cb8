"""`RemoteTasks`: runs the requests of tasks on a server."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from blip_serve.domain import ServiceTier, Task
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.remote.answers import Model, ModelList, served
from blip_serve.remote.call import AnyCall, WrongShape, shared
from blip_serve.remote.connection import ANSWER_S, CONNECTIONS, Connection
from blip_serve.remote.decide import DECIDE
from blip_serve.remote.embed import EMBED
from blip_serve.remote.errors import not_ours
from blip_serve.remote.generate import GENERATE
from blip_serve.remote.match import MATCH
from blip_serve.tasks.decide import DecideRequest
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.generate import AnswerRequest, CaptionRequest, GenerateRequest
from blip_serve.tasks.match import MatchRequest
from blip_serve.tasks.request import Request

ResultT = TypeVar("ResultT")

CALLS: Mapping[type[Request[Any]], AnyCall] = {
    MatchRequest: MATCH,
    EmbedRequest: EMBED,
    GenerateRequest: GENERATE,
    CaptionRequest: GENERATE,
    AnswerRequest: GENERATE,
    DecideRequest: DECIDE,
}
"""How the requests are sent, by their type."""
CHOSEN_HERE = (CaptionRequest, AnswerRequest)
"""Requests whose endpoint does not tell whether a caption or an answer is wanted: without a model, one is named."""
DIGEST = "x-image-digest"
"""A balancer may send the requests of one image to one replica, which then has it in its cache."""


class RemoteTasks:
    """The tasks of the server at `url`, with the API key `key`. Use it in an `async with`, or call `aclose`.

    `service_tier`: that of requests which leave it to the service. `connections`: the most at once.
    `answer_s`: seconds after which a request fails. Raises `ConfigurationError` for what is no http(s) URL.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        service_tier: ServiceTier = "flex",
        connections: int = CONNECTIONS,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._connection = Connection(url, key, connections, answer_s)
        self._service_tier = service_tier
        self._choosing = asyncio.Lock()
        self._chosen: dict[tuple[Task, ...], str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. Requests in flight fail."""
        await self._connection.aclose()

    async def models(self) -> list[Model]:
        """The server's models. Also tells whether there is a server, and whether the key is right.

        Raises `ConfigurationError` where it is no blip-serve, `Unavailable` where nothing answers.
        """
        return (await self._connection.get("/v1/models", ModelList)).data

    async def choose(self, needs: tuple[Task, ...]) -> str:
        """The first model on the server's list that can do one of `needs`. Asks once.

        Raises `InvalidInput` where none can, and what `models` raises.
        """
        async with self._choosing:
            if needs not in self._chosen:
                self._chosen[needs] = _first(await self.models(), needs)
            return self._chosen[needs]

    async def run(self, request: Request[ResultT], /) -> ResultT:
        """The result. Raises the server's `ServiceError`, which names the request's own fields.

        Raises `Unavailable` for a lost connection, `ConfigurationError` where it is no blip-serve, and `TypeError` for
        a request of another task.
        """
        call = CALLS.get(type(request))
        if call is None:
            raise TypeError(f"a {type(request).__name__} is not sent to a server")
        asked = await self._complete(request)
        content, headers = await asyncio.to_thread(_encoded, call, asked)  # a large picture takes a while
        answer, received = await self._connection.post(
            call.path, content, headers, call.answer, lambda param: str(call.rename(asked, param))
        )
        try:
            return cast(ResultT, call.result(asked, answer, served(answer, asked, received)))
        except WrongShape as error:
            raise not_ours(self._connection.server, f"{call.path} with another answer ({error})") from None

    async def _complete(self, request: Request[ResultT]) -> Request[ResultT]:
        """The request with a service tier, and with a model where the endpoint cannot choose."""
        tier = self._service_tier if request.service_tier == "auto" else request.service_tier
        model = request.model
        if model is None and isinstance(request, CHOSEN_HERE):
            model = await self.choose(request.needs)
        return replace(request, model=model, service_tier=tier)


def _first(models: Sequence[Model], needs: Sequence[Task]) -> str:
    """A model whose tasks are not known yet may turn out to do it, but one that is known to comes first."""
    whole = [model for model in models if model.parent is None]
    able = [model.id for model in whole if model.tasks is not None and set(model.tasks) & set(needs)]
    perhaps = [model.id for model in whole if model.tasks is None]
    if not able + perhaps:
        raise InvalidInput(
            f"No model of the server does this ({' or '.join(needs)}).", code="task_not_supported", param="model"
        )
    return (able + perhaps)[0]


def _encoded(call: AnyCall, request: Request[Any]) -> tuple[bytes, dict[str, str]]:
    """The body, and headers that go with it."""
    body = call.body(request) | shared(request)
    image = next((image for image in call.images(request) if isinstance(image, BytesImage)), None)
    headers = {} if image is None else {DIGEST: sha256(image.data).hexdigest()}
    return json.dumps(body).encode(), headers
