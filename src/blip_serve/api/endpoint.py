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
"""A check of a body's field `model`, which may hold anything. Raises `ModelNotFound` or `PermissionDenied`."""


def unchecked(named: object) -> None:
    """No check: the task refuses a model that cannot be used."""


@dataclass(frozen=True, slots=True)
class Translation(Generic[RequestT, ResultT]):
    """One body, translated. It keeps only those parts of the body that the answer needs: bodies are large.

    `request` is the task's. `answer` turns the task's result into the answer. `writer` turns the task's events into a
    stream; `None` where the body asks for no stream.
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

    `name`: the beginning of the operation ids in the OpenAPI document. `paths`: each with its summary, the main one
    first. `others`: parameters beside the body's fields that are accepted and not read. `translate`: raises
    `InvalidInput` naming the field at fault. `streams`: whether a body may ask for server-sent events. `nulls`: whether
    the answer holds fields that are `None`.
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
        """Translates a body: JSON text, or an object read from JSON.

        Raises what `check_model` raises, before any other error of the body, and `InvalidInput` naming the field at
        fault.
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
