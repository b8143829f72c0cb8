"""An endpoint as a value: what it reads, how that becomes a task's request, and how the result becomes an answer.

Knows no HTTP: the lines of a file can go through it as the bodies of requests do.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from starlette.datastructures import FormData

from blip_serve.api.body import Body, Others, check_cost, named_in, validated
from blip_serve.api.events import Writer
from blip_serve.errors import InvalidInput
from blip_serve.settings import Settings

BodyT = TypeVar("BodyT", bound=Body)
RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

CheckModel = Callable[[object], None]
"""Is given what a body has as its `model`. Raises `ModelNotFound`, or `PermissionDenied`, where it cannot be used."""


def unchecked(named: object) -> None:
    """Leaves it to the task to say what is wrong with the model."""


@dataclass(frozen=True, slots=True)
class Translation(Generic[RequestT, ResultT]):
    """One body, translated. Holds of the body only what the answer needs: bodies are large.

    `request` is the task's; `answer` makes an answer of its result. `writer`: shapes the answer as a stream, where the
    body asks for one.
    """

    request: RequestT
    answer: Callable[[ResultT], BaseModel]
    writer: Writer[Any] | None = None


@dataclass(frozen=True, slots=True)
class Form(Generic[RequestT, ResultT]):
    """How an endpoint reads a body of `multipart/form-data`, and what the OpenAPI document says of it."""

    translate: Callable[[FormData, Settings], Awaitable[Translation[RequestT, ResultT]]]
    schema: Mapping[str, object]
    example: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[BodyT, RequestT, ResultT]):
    """What `POST` to one of `paths` does.

    `name` begins its operations' ids in the OpenAPI document. `paths`: each with its summary, the main one first.
    `others`: parameters beside the body's fields that are accepted and not read. `translate` raises `InvalidInput`
    naming the field at fault. `streams`: whether a body may ask for server-sent events. `nulls`: whether the answer
    writes what is `None`, or leaves it out.
    """

    name: str
    paths: Mapping[str, str]
    description: str
    body: type[BodyT]
    others: Others
    translate: Callable[[BodyT, Settings], Translation[RequestT, ResultT]]
    response: type[BaseModel]
    example: Mapping[str, object]
    form: Form[RequestT, ResultT] | None = None
    streams: bool = False
    nulls: bool = False

    def read(
        self, content: bytes | dict[str, Any], settings: Settings, check_model: CheckModel = unchecked
    ) -> Translation[RequestT, ResultT]:
        """JSON text, or an object that was JSON, as the task's request.

        Raises what `check_model` raises, whatever else is wrong, and `InvalidInput` naming the field at fault.
        """
        if isinstance(content, bytes):
            check_cost(content, settings.server.max_json_values)
        try:
            body = validated(self.body, content, self.others)
        except InvalidInput:
            check_model(named_in(content))
            raise
        check_model(body.model)
        return self.translate(body, settings)

    def write(self, answer: BaseModel) -> str:
        """The answer as JSON text."""
        return answer.model_dump_json(exclude_none=not self.nulls)
