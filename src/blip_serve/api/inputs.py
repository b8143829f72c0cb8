"""Fields that hold a text or an image, as a string, an object or a content part: reads them."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

from blip_serve.api.body import unknown_parameter
from blip_serve.api.images import image_source
from blip_serve.api.parts import read_part
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import is_data_uri, parse_image
from blip_serve.settings import HARD_LIMIT
from blip_serve.tasks.inputs import Input

_ONE = [
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

OneInput = Annotated[Any, WithJsonSchema({"anyOf": _ONE})]
"""A text or an image in a JSON body, not yet read."""
Inputs = Annotated[Any, WithJsonSchema({"anyOf": [*_ONE, {"type": "array", "minItems": 1, "items": {"anyOf": _ONE}}]})]
"""One of these, or several; not yet read."""


def read_inputs(value: Any, param: str) -> tuple[Input, ...]:
    """Reads `Inputs`: at least one. Raises what `entries` and `read_input` raise."""
    return tuple(read_input(entry, path) for path, entry in entries(value, param))


def entries(value: Any, param: str) -> list[tuple[str, Any]]:
    """The entries of `Inputs`, each after its path. The parts of one `content` are entries too, as in vLLM.

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
            return Caption(_string(value["text"], f"{param}.text"), f"{param}.text")
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


def _string(value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"'{param}' must be a string.", code="invalid_type", param=param)
    return value
