"""Texts and images in a request's fields: strings, objects and content parts, each to a caption or an image source."""

from copy import copy
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from blip_serve.api.body import unknown_parameter
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource, UnreadableImage, is_data_uri, parse_image
from blip_serve.settings import HARD_LIMIT
from blip_serve.tasks.inputs import Input

T = TypeVar("T")

EXAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQMAAABJtOi3AAAABlBMVEXw8PDcHh7UeijEAAAARElEQVR42o3MsQ2AMBDA"
    "wMtHomUVNiCbsVpGYQwqQvGpKBAuLFfmB/XEegnbIrQioOpKQBRa1kuDHnk5hln7nb95/uIBs24J47LD1uIAAAAASUVORK5CYII="
)
"""A drawn red circle: the examples of the OpenAPI document work as they stand, without a network."""

_STRING = {
    "type": "string",
    "description": "`data:image/...;base64,...`, an `http(s)://` URL, or bare base64",
    "examples": [EXAMPLE_IMAGE, "https://example.com/dog.jpg"],
}
_SCHEMA = {
    "anyOf": [
        _STRING,
        {"type": "object", "properties": {"url": _STRING}, "required": ["url"], "additionalProperties": False},
        {"type": "object", "properties": {"image": _STRING}, "required": ["image"], "additionalProperties": False},
    ]
}


def _string_or_object(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise PydanticCustomError("image_type", "an image is a string or an object")
    return value


Image = Annotated[Any, AfterValidator(_string_or_object), WithJsonSchema(_SCHEMA)]
"""An image in a JSON body, not yet parsed."""

_INPUT = [
    {
        "type": "string",
        "description": 'a text; `data:...;base64,...` is an image, and an image by URL an object: `{"url": ...}`',
    },
    {
        "type": "object",
        "minProperties": 1,
        "description": "`text`, `image` or `url` alone; or a content part of OpenAI's; or `content` with one part",
        "properties": {
            "text": {"type": "string"},
            "image": {"description": "a string or an object, as `/v1/match` takes it"},
            "url": {"type": "string"},
        },
    },
]

OneInput = Annotated[Any, WithJsonSchema({"anyOf": _INPUT})]
"""A text or an image in a JSON body, not yet read."""
Inputs = Annotated[
    Any, WithJsonSchema({"anyOf": [*_INPUT, {"type": "array", "minItems": 1, "items": {"anyOf": _INPUT}}]})
]
"""One input, or a list of them; not yet read."""

TEXT_KEYS = frozenset({"type", "text", "prompt_cache_breakpoint"})
MAX_PARTS = 128
"""The most parts a message's content may have. A body has room for millions."""
IMAGE_KEYS = frozenset({"type", "image_url", "detail", "prompt_cache_breakpoint", "uuid"})
IMAGE_TYPES = ("image_url", "input_image")


def one_or_many(name: str, one: T | list[T] | None, many: list[T] | None) -> list[tuple[str, T]]:
    """The values of the field `name` (in a form it may be repeated) or of its plural, each after the path of its field.

    Raises `InvalidInput` where both are given, or neither.
    """
    first = one if isinstance(one, list) else [] if one is None else [one]
    if first and many:
        raise InvalidInput(f"Give '{name}' or '{name}s', not both.", param=f"{name}s")
    if many:
        return [(f"{name}s[{i}]", value) for i, value in enumerate(many)]
    if not first:
        raise InvalidInput(f"'{name}' is required.", code="missing_required_parameter", param=name)
    return [(name if len(first) == 1 else f"{name}[{i}]", value) for i, value in enumerate(first)]


def read_inputs(value: Any, param: str) -> tuple[Input, ...]:
    """Reads `Inputs`: at least one. Raises what `entries` and `read_input` raise."""
    return tuple(read_input(entry, path) for path, entry in entries(value, param))


def entries(value: Any, param: str) -> list[tuple[str, Any]]:
    """The entries of `Inputs`, as pairs of path and entry. The parts of one `content` are entries too, as in vLLM.

    Raises `InvalidInput` where there are none, or more than any setting allows.
    """
    if isinstance(value, dict) and "content" in value:
        value, param = _content(value, param), f"{param}.content"
    if not isinstance(value, list):
        return [(param, value)]
    if not value:
        raise InvalidInput(f"'{param}' is empty.", param=param)
    if len(value) > HARD_LIMIT:
        kind = "captions" if isinstance(read_input(value[0], f"{param}[0]"), Caption) else "images"
        raise InvalidInput(f"'{param}' has too many entries.", code=f"too_many_{kind}", param=param)
    return [(f"{param}[{i}]", entry) for i, entry in enumerate(value)]


def read_input(value: Any, param: str) -> Input:
    """Reads `OneInput`. Raises `InvalidInput` naming the field, or the key within it."""
    if isinstance(value, str):
        return parse_image(value, param) if is_data_uri(value) else Caption(value, param)
    if not isinstance(value, dict):
        raise InvalidInput(f"'{param}' must be a string or an object.", code="invalid_type", param=param)
    if "type" in value:
        return read_part(value, param)
    if unknown := value.keys() - {"text", "image", "url", "content"}:
        raise unknown_parameter(f"{param}.{min(unknown)[:100]}")
    match list(value):
        case ["text"]:
            return Caption(_string(value, "text", param), f"{param}.text")
        case ["image"] if isinstance(value["image"], dict):
            return image_source(value["image"], f"{param}.image")
        case ["image"] | ["url"]:
            return image_source(value, param)
        case ["content"]:
            return _only_part(value, param)
    raise InvalidInput(f"'{param}' must hold 'text', 'image' or 'url', and nothing else.", param=param)


def _only_part(value: dict[str, Any], param: str) -> Input:
    content = _content(value, param)
    if len(content) != 1:
        raise InvalidInput(
            "An entry is one text or one image: no vector and no score is made of several.",
            code="unsupported_content",
            param=f"{param}.content",
        )
    return read_part(content[0], f"{param}.content[0]")


def _content(value: dict[str, Any], param: str) -> list[Any]:
    content = value["content"]
    if not isinstance(content, list) or len(value) > 1:
        raise InvalidInput(f"'{param}.content' must be an array of parts, and stand alone.", param=f"{param}.content")
    return content


def is_image(part: Any) -> bool:
    """Whether a part, not yet read, is an image."""
    return isinstance(part, dict) and part.get("type") in IMAGE_TYPES


def read_content(content: Any, param: str) -> list[Caption | ImageSource]:
    """A message's content: a string, or parts of type `text`, `input_text`, `image_url`, `input_image`.

    Raises `InvalidInput` naming the part and the key at fault; `unsupported_content` for parts of other types,
    `too_many_parts`.
    """
    if isinstance(content, str):
        return [Caption(content, param)]
    if not isinstance(content, list):
        raise InvalidInput(f"'{param}' must be a string or an array.", code="invalid_type", param=param)
    if len(content) > MAX_PARTS:
        raise InvalidInput(f"'{param}' has more than {MAX_PARTS} parts.", code="too_many_parts", param=param)
    return [read_part(part, f"{param}[{i}]") for i, part in enumerate(content)]


def read_part(part: Any, param: str) -> Caption | ImageSource:
    """One part. Raises what `read_content` raises."""
    if not isinstance(part, dict):
        raise InvalidInput(f"'{param}' must be an object.", code="invalid_type", param=param)
    match part.get("type"):
        case "text" | "input_text":
            _only_keys(part, TEXT_KEYS, param)
            return Caption(_string(part, "text", param), f"{param}.text")
        case "image_url":
            _only_keys(part, IMAGE_KEYS, param)
            inner = part.get("image_url")
            if isinstance(inner, str):
                return image_source(inner, f"{param}.image_url")
            if not isinstance(inner, dict):
                raise InvalidInput(
                    f"'{param}.image_url' must be an object or a string.",
                    code="invalid_type",
                    param=f"{param}.image_url",
                )
            _only_keys(inner, frozenset({"url", "detail"}), f"{param}.image_url")
            return image_source(_string(inner, "url", f"{param}.image_url"), f"{param}.image_url.url")
        case "input_image":
            if part.get("file_id") is not None:
                raise InvalidInput(
                    "Files are not stored here; give the image itself.",
                    code="unsupported_content",
                    param=f"{param}.file_id",
                )
            _only_keys(part, IMAGE_KEYS | {"file_id"}, param)
            return image_source(_string(part, "image_url", param), f"{param}.image_url")
        case str(kind):
            raise InvalidInput(
                f"A part of type '{kind[:100]}' cannot be read.", code="unsupported_content", param=param
            )
    raise InvalidInput(f"'{param}.type' is required.", code="missing_required_parameter", param=f"{param}.type")


def image_or_fault(value: str | dict[str, Any], param: str) -> ImageSource:
    """Like `image_source`, but an error is raised only when the image is loaded."""
    try:
        return image_source(value, param)
    except InvalidInput as error:
        return UnreadableImage(copy(error), param)  # without the traceback, which holds the request


def image_source(value: str | dict[str, Any], param: str) -> ImageSource:
    """The source of an image that came as `Image`. Raises `InvalidInput` naming the field, or the key within it."""
    if isinstance(value, str):
        return parse_image(value, param)
    keys = {"url", "image"}
    if unknown := value.keys() - keys:
        raise unknown_parameter(f"{param}.{min(unknown)[:100]}")
    if len(value) != 1:
        raise InvalidInput("An image object holds 'url' or 'image', and nothing else.", param=param)
    [key] = value
    return parse_image(_string(value, key, param), f"{param}.{key}")


def _string(part: dict[str, Any], key: str, param: str) -> str:
    if not isinstance(part.get(key), str):
        raise InvalidInput(f"'{param}.{key}' must be a string.", code="invalid_type", param=f"{param}.{key}")
    value: str = part[key]
    return value


def _only_keys(part: dict[str, Any], known: frozenset[str], param: str) -> None:
    """Refuses unknown keys that are not null: some clients write all fields of their objects, absent ones as null."""
    for key in part.keys() - known:
        if part[key] is not None:
            raise unknown_parameter(f"{param}.{key[:100]}")
