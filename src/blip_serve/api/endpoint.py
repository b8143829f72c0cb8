"""An endpoint as a value: what it reads, how that becomes a task's request, and how the result becomes an answer.

`api/body.py` uses it to read bodies and write answers; `api/routing.py` makes routes from it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData

from blip_serve.api.events import Writer
from blip_serve.domain import ServiceTier
from blip_serve.settings import Settings

Beside = Mapping[str, object]
"""The accepted but unread parameters of a request, with their values."""
Others = Mapping[str, Callable[[object, Beside], bool]]
"""Parameters that are accepted and not read. Each has a function that says whether its value can be ignored; a value
that cannot is refused. The function is given the value, and all such parameters of the request."""
NOTHING_ELSE: Others = {}

STRICT = ConfigDict(
    strict=True, extra="allow", hide_input_in_errors=True, json_schema_extra={"additionalProperties": False}
)
"""For bodies: no conversions. Unknown fields are refused by `body.validated`, at the first one. With `extra="forbid"`
pydantic would build an error for each of them, and a body can hold a million.
"""


class Body(BaseModel):
    """The fields of every body."""

    model_config = STRICT

    model: str | None = Field(None, description="the configured default where absent", examples=["demo"])
    service_tier: ServiceTier | None = Field(
        None,
        description="`flex`: background work, which waits for room and runs when nothing else does; all others are "
        "interactive, `auto` by default",
    )


BodyT = TypeVar("BodyT", bound=Body)
RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")


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


def anything(value: object, beside: Beside) -> bool:
    """For a parameter that never changes an answer: every value can be ignored."""
    return True


def only(*harmless: object) -> Callable[[object, Beside], bool]:
    """For a parameter that can be ignored if it has one of these values."""
    return lambda value, beside: value in harmless


def unless(other: str, unused: object, *harmless: object) -> Callable[[object, Beside], bool]:
    """Like `only`. Any value can be ignored if the parameter `other` has the value `unused`."""
    return lambda value, beside: value in harmless or beside.get(other) == unused
