"""Reads a JSON body for an endpoint and translates it. Writes the answer as JSON.

Knows no HTTP: a line of a file is read like the body of a request.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from blip_serve.api.endpoint import NOTHING_ELSE, Endpoint, Others, RequestT, ResultT, Translation
from blip_serve.api.errors import invalid_field
from blip_serve.errors import InvalidInput
from blip_serve.settings import Settings

T = TypeVar("T", bound=BaseModel)

CheckModel = Callable[[object], None]
"""A check of a body's field `model`, which may hold anything. Raises `ModelNotFound` or `PermissionDenied`."""


def unchecked(named: object) -> None:
    """No check: the task refuses a model that cannot be used."""


class _Named(BaseModel):
    """A body of which only the model's name is read."""

    model: Any = None


def _named_in(content: bytes | dict[str, Any]) -> object:
    """The field `model` of a body that is invalid elsewhere; `None` where the body is not a JSON object."""
    if isinstance(content, dict):
        return content.get("model")
    try:
        return _Named.model_validate_json(content).model
    except ValidationError:
        return None


def read_body(
    endpoint: Endpoint[Any, RequestT, ResultT],
    content: bytes | dict[str, Any],
    settings: Settings,
    check_model: CheckModel = unchecked,
) -> Translation[RequestT, ResultT]:
    """Translates an endpoint's body: JSON text, or an object read from JSON.

    Raises what `check_model` raises, before any other error of the body, and `InvalidInput` naming the field at fault.
    """
    if isinstance(content, bytes):
        check_cost(content, settings.server.max_json_values)
    try:
        body = validated(endpoint.body, content, endpoint.others)
    except InvalidInput:
        check_model(_named_in(content))
        raise
    check_model(body.model)
    return endpoint.translate(body, settings)


def write_answer(endpoint: Endpoint[Any, Any, Any], answer: BaseModel) -> str:
    """An endpoint's answer as JSON text."""
    return answer.model_dump_json(exclude_none=not endpoint.nulls)


def check_cost(content: bytes, most: int) -> None:
    """Raises `InvalidInput` for JSON of more than `most` values.

    Bodies are parsed on the event loop. 57 MB of base64 take 40 ms there, 57 MB of `1,1,1` take seconds. So this counts
    commas and opening brackets first; `find` skips base64 very fast.
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
