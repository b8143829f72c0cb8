"""A request's body of JSON as a pydantic model: what it may hold, and the error that names what it may not."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blip_serve.api.errors import invalid_field
from blip_serve.domain import ServiceTier
from blip_serve.errors import InvalidInput

T = TypeVar("T", bound=BaseModel)

Beside = Mapping[str, object]
"""A request's parameters that are accepted and not read, with their values."""
Others = Mapping[str, Callable[[object, Beside], bool]]
"""Parameters that are accepted and not read. Each has a function that says whether its value can be ignored; a value
that cannot is refused. The function is given the value, and all such parameters of the request."""
NOTHING_ELSE: Others = {}

STRICT = ConfigDict(
    strict=True, extra="allow", hide_input_in_errors=True, json_schema_extra={"additionalProperties": False}
)
"""For bodies: no conversions. Unknown fields are refused by `validated`, at the first one. With `extra="forbid"`
pydantic would make an error of each, and a body has room for a million."""


class Body(BaseModel):
    """The fields of every body."""

    model_config = STRICT

    model: str | None = Field(None, description="the configured default where absent", examples=["demo"])
    service_tier: ServiceTier | None = Field(
        None,
        description="`flex`: background work, which waits for room and runs when nothing else does; all others are "
        "interactive, `auto` by default",
    )


class _Named(BaseModel):
    """A body of which only the model's name is read."""

    model: Any = None


def named_in(content: bytes | dict[str, Any]) -> object:
    """The field `model` of a body that is invalid elsewhere; `None` where the body is not a JSON object."""
    if isinstance(content, dict):
        return content.get("model")
    try:
        return _Named.model_validate_json(content).model
    except ValidationError:
        return None


def check_cost(content: bytes, most: int) -> None:
    """Raises `InvalidInput` for JSON of more than `most` values.

    They are read on the event loop, where 57 MB of base64 take 40 ms and 57 MB of `1,1,1` take seconds. Each value but
    the first comes after a comma or an opening bracket; `find` skips base64 at the speed of memory.
    """
    left = most
    for mark in (b",", b"[", b"{") if len(content) > most else ():
        at = content.find(mark)
        while at >= 0:
            left -= 1
            if left < 0:
                raise InvalidInput(f"The body has over {most} JSON values.", code="invalid_json")
            at = content.find(mark, at + 1)


def validated(model: type[T], content: bytes | dict[str, Any], others: Others = NOTHING_ELSE, at: str = "") -> T:
    """JSON text or an object as `model`; `at` is its path, where it is a part of the body.

    Raises `InvalidInput` naming the field at fault.
    """
    try:
        body = model.model_validate_json(content) if isinstance(content, bytes) else model.model_validate(content)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid_field(first, at=at) from None
    _check_extra(body, others, f"{at}." if at else "")
    return body


def _check_extra(body: BaseModel, others: Others, within: str = "") -> None:
    """Raises `InvalidInput` for the first unknown field of `body` or of an object in it, unless `others` accept it."""
    extra = body.model_extra or {}
    for name, value in extra.items():
        if name not in others:
            raise unknown_parameter(f"{within}{name[:100]}")
        if not others[name](value, extra):
            raise InvalidInput(
                f"'{name}' is not supported with this value: it would change the answer.",
                code="unsupported_parameter",
                param=name,
            )
    for name in type(body).model_fields:
        inner = getattr(body, name)
        if isinstance(inner, BaseModel):
            _check_extra(inner, NOTHING_ELSE, f"{within}{name}.")


def unknown_parameter(name: str) -> InvalidInput:
    """The refusal of a field that the endpoint does not have."""
    return InvalidInput(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)


def anything(value: object, beside: Beside) -> bool:
    """For a parameter that never changes an answer: every value can be ignored."""
    return True


def only(*harmless: object) -> Callable[[object, Beside], bool]:
    """For a parameter that changes no answer with one of these values."""
    return lambda value, beside: value in harmless


def unless(other: str, unused: object, *harmless: object) -> Callable[[object, Beside], bool]:
    """For a parameter that changes no answer with one of these values, or with any where `other` is `unused`."""
    return lambda value, beside: value in harmless or beside.get(other) == unused
