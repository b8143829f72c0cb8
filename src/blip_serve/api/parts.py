"""The content of a message, in the shapes of OpenAI's chat, responses and decisions: texts and images."""

from typing import Any

from blip_serve.api.body import unknown_parameter
from blip_serve.api.images import image_source
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource

TEXT_KEYS = frozenset({"type", "text", "prompt_cache_breakpoint"})
MAX_PARTS = 128
"""Parts that a content may have. Only a few can be used, and a body has room for millions."""
IMAGE_KEYS = frozenset({"type", "image_url", "detail", "prompt_cache_breakpoint", "uuid"})
IMAGE_TYPES = ("image_url", "input_image")


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
