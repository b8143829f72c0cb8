"""Reads a request's body of `multipart/form-data` into its parts."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from blip_serve.api.body import CheckModel, check_cost, unknown_parameter
from blip_serve.errors import InvalidInput, UnsupportedMediaType
from blip_serve.settings import Settings

_TEXTS = TypeAdapter(list[str])


class Utf8Parser(MultiPartParser):
    """Starlette's parser, but a text that is not UTF-8 is refused; Starlette's reads it as Latin-1."""

    def on_part_end(self) -> None:
        """Keeps a part that is whole. Raises `InvalidInput` where its text is not UTF-8; a file may hold any bytes."""
        part = self._current_part
        if part.file is not None:
            super().on_part_end()
            return
        try:
            self.items.append((part.field_name, part.data.decode()))
        except UnicodeDecodeError:
            name = part.field_name[:100]
            raise InvalidInput(f"'{name}' is not UTF-8 text.", code="invalid_text", param=name) from None


@asynccontextmanager
async def read_form(request: Request, settings: Settings, check_model: CheckModel) -> AsyncIterator[FormData]:
    """The body's parts, bounded; their files are closed on leaving.

    Raises `InvalidInput` where it is not a form, has too many parts, or text that is not UTF-8; `UnsupportedMediaType`
    where the request says it is in another encoding (some of those take quadratic time to read); and what `check_model`
    raises for the model it names.
    """
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise UnsupportedMediaType("A form's texts must be UTF-8.", param="content-type")
    limits = settings.limits
    async with aclosing(request.stream()) as stream:
        parser = Utf8Parser(
            request.headers,
            stream,
            max_files=2 * max(limits.max_images, limits.max_zip_pairs),
            max_fields=2 * (limits.max_images + max(limits.max_captions, limits.max_zip_pairs)),
            max_part_size=2 * settings.images.max_bytes,  # base64 is a third longer than its bytes
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise _unreadable(error) from None
    try:
        for named in form.getlist("model"):
            check_model(named)
        yield form
    finally:
        await form.close()


def _unreadable(error: MultiPartException) -> InvalidInput:
    """The error for what the parser refuses. A request over the limits has more parts than the parser was to read."""
    for parts, field in (("files", "images"), ("fields", "captions")):
        if error.message.startswith(f"Too many {parts}"):
            return InvalidInput(f"'{field}' has too many entries.", code=f"too_many_{field}", param=field)
    return InvalidInput("The body could not be read.", code="invalid_body")


def only_fields(form: FormData, known: frozenset[str]) -> None:
    """Raises `InvalidInput` for a part of another name."""
    for name in form:
        if name not in known:
            raise unknown_parameter(name[:100])


def list_field(form: FormData, name: str, max_json_values: int) -> list[str]:
    """The values of a repeatable text part. One part alone may hold them all, as a JSON list.

    Raises `InvalidInput` where a value is a file, or begins with `[` and is not a JSON list of strings.
    """
    values = text_field(form, name)
    if len(values) != 1 or not values[0].lstrip().startswith("["):
        return values
    content = values[0].encode()
    check_cost(content, max_json_values)
    try:
        return _TEXTS.validate_json(content)
    except ValidationError:
        raise InvalidInput(
            f"'{name}' begins like a list and is none: repeat the field once a text, or give a JSON list of strings.",
            param=name,
        ) from None


def text_field(form: FormData, name: str) -> list[str]:
    """The values of a repeatable text part. Raises `InvalidInput` where one is a file."""
    values = form.getlist(name)
    for value in values:
        if not isinstance(value, str):
            raise InvalidInput(f"'{name}' must be text, not a file.", code="invalid_type", param=name)
    return [value for value in values if isinstance(value, str)]
