"""Reads a request's body of JSON into a pydantic model."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from blip_serve.api.context import check_model
from blip_serve.api.errors import invalid_field
from blip_serve.errors import InvalidInput, UnsupportedMediaType

T = TypeVar("T", bound=BaseModel)

FORM, JSON = "multipart/form-data", "application/json"

Beside = Mapping[str, object]
"""A request's parameters that are not read, with their values."""
Others = Mapping[str, Callable[[object, Beside], bool]]
"""Parameters that are accepted and not read: name to whether a value of it changes nothing, beside the others."""
NOTHING_ELSE: Others = {}

STRICT = ConfigDict(
    strict=True, extra="allow", hide_input_in_errors=True, json_schema_extra={"additionalProperties": False}
)
"""For bodies: no conversions, and `validated` refuses what is unknown; pydantic would list a million of them first."""


def is_form(request: Request) -> bool:
    """Whether the body is `multipart/form-data`; JSON otherwise. Raises `UnsupportedMediaType` for anything else."""
    kind = _media_type(request)
    if kind not in (FORM, JSON):
        raise UnsupportedMediaType(f"Send 'content-type: {JSON}' or '{FORM}'.", param="content-type")
    return kind == FORM


async def read_json(request: Request, model: type[T], others: Others = NOTHING_ELSE) -> T:
    """The body as `model`; `others` are the parameters accepted beside its fields, and not read.

    Raises `ModelNotFound`, or `PermissionDenied`, for the model it names, whatever else is wrong; `InvalidInput` naming
    the field at fault, and `UnsupportedMediaType` for a body of another type.
    """
    if _media_type(request) != JSON:
        raise UnsupportedMediaType(f"Send 'content-type: {JSON}'.", param="content-type")
    content = await request.body()
    check_cost(content, request.app.state.settings.server.max_json_values)
    try:
        body = validated(model, content, others)
    except InvalidInput:
        check_model(request, _named_in(content))
        raise
    check_model(request, getattr(body, "model", None))
    return body


class _Named(BaseModel):
    """A body of which only the model's name is read."""

    model: Any = None


def _named_in(content: bytes) -> object:
    """The model that a body names, which is wrong in something else; `None` where it is no JSON object."""
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


def _media_type(request: Request) -> str:
    """The body's type. Raises `UnsupportedMediaType` where the body is compressed."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            "Compressed bodies are not read: send the body without 'content-encoding'.", param="content-encoding"
        )
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def validated(model: type[T], content: bytes | dict[str, object], others: Others = NOTHING_ELSE, at: str = "") -> T:
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
    """Raises `InvalidInput` for what is no field of `body`, or of an object in it, and none of `others`."""
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


def documented(model: type[BaseModel], example: Mapping[str, object]) -> dict[str, object]:
    """A route's `openapi_extra` for a body that `read_json` reads; `model` refers to no other."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def anything(value: object, beside: Beside) -> bool:
    """Always true: whatever its value, the parameter changes nothing."""
    return True


def only(*harmless: object) -> Callable[[object, Beside], bool]:
    """Whether a value is one of those that change nothing."""
    return lambda value, beside: value in harmless


def unless(other: str, unused: object, *harmless: object) -> Callable[[object, Beside], bool]:
    """Whether a value is one of those that change nothing, as all do where `other` says that it is `unused`."""
    return lambda value, beside: value in harmless or beside.get(other) == unused
