"""Reads a request's body: JSON into a pydantic model, or the parts of a form."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from blip_serve.api.errors import invalid_field
from blip_serve.errors import InvalidInput, UnsupportedMediaType
from blip_serve.settings import Settings

T = TypeVar("T", bound=BaseModel)

FORM, JSON = "multipart/form-data", "application/json"

Others = Mapping[str, Callable[[object], bool]]
"""Parameters that are accepted and not read: name to whether a value of it changes nothing."""
NOTHING_ELSE: Others = {}

STRICT = ConfigDict(strict=True, extra="allow", json_schema_extra={"additionalProperties": False})
"""For bodies: no conversions, and `validated` refuses what is unknown; pydantic would list a million of them first."""


def is_form(request: Request) -> bool:
    """Whether the body is `multipart/form-data`; JSON otherwise. Raises `UnsupportedMediaType` for anything else."""
    kind = _media_type(request)
    if kind not in (FORM, JSON):
        raise UnsupportedMediaType(f"Send 'content-type: {JSON}' or '{FORM}'.", param="content-type")
    return kind == FORM


async def read_json(request: Request, model: type[T], others: Others = NOTHING_ELSE) -> T:
    """The body as `model`; `others` are the parameters accepted beside its fields, and not read.

    Raises `InvalidInput` naming the field at fault, and `UnsupportedMediaType` for a body of another type.
    """
    if _media_type(request) != JSON:
        raise UnsupportedMediaType(f"Send 'content-type: {JSON}'.", param="content-type")
    return validated(model, await request.body(), others)


def _media_type(request: Request) -> str:
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
    for name, value in (body.model_extra or {}).items():
        if name not in others:
            raise unknown_parameter(f"{within}{name[:100]}")
        if not others[name](value):
            raise InvalidInput(
                f"'{name}' is not supported with this value: it would change the answer.",
                code="unsupported_parameter",
                param=name,
            )
    for name in type(body).model_fields:
        inner = getattr(body, name)
        if isinstance(inner, BaseModel):
            _check_extra(inner, NOTHING_ELSE, f"{within}{name}.")


def documented(model: type[BaseModel], example: Mapping[str, object]) -> dict[str, object]:
    """A route's `openapi_extra` for a body that `read_json` reads; `model` refers to no other."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def anything(value: object) -> bool:
    """Whether `value` changes nothing: it never does."""
    return True


def only(*harmless: object) -> Callable[[object], bool]:
    """Whether a value is one of those that change nothing."""
    return lambda value: value in harmless


@asynccontextmanager
async def read_form(request: Request, settings: Settings) -> AsyncIterator[FormData]:
    """The body's parts, bounded; their files are closed on leaving. Raises `InvalidInput` for too many of them."""
    limits, largest = settings.limits, settings.images.max_bytes
    try:
        form = await request.form(
            max_files=2 * limits.max_images,
            max_fields=2 * (limits.max_images + limits.max_captions),
            max_part_size=2 * largest,  # base64 is a third longer than its bytes
        )
    except HTTPException as error:
        raise _too_many_parts(error) or error from None
    try:
        yield form
    finally:
        await form.close()


def _too_many_parts(error: HTTPException) -> InvalidInput | None:
    """The parser's refusal of more parts than it was told to read, as that of a request with more than the limit."""
    for parts, field in (("files", "images"), ("fields", "captions")):
        if error.detail.startswith(f"Too many {parts}"):
            return InvalidInput(f"'{field}' has too many entries.", code=f"too_many_{field}", param=field)
    return None


def only_fields(form: FormData, known: frozenset[str]) -> None:
    """Raises `InvalidInput` for a part of another name."""
    for name in form:
        if name not in known:
            raise unknown_parameter(name[:100])


def unknown_parameter(name: str) -> InvalidInput:
    """The answer to a field, by its path, that nothing reads."""
    return InvalidInput(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)


def text_field(form: FormData, name: str) -> list[str]:
    """The values of a repeatable text part. Raises `InvalidInput` where one is a file."""
    values = form.getlist(name)
    for value in values:
        if not isinstance(value, str):
            raise InvalidInput(f"'{name}' must be text, not a file.", code="invalid_type", param=name)
    return [value for value in values if isinstance(value, str)]
