"""The image grammar in a request's fields: strings and objects to image sources."""

from copy import copy
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from blip_serve.api.body import unknown_parameter
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource, UnreadableImage, parse_image

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
    (key, inner), *_ = value.items()
    if not isinstance(inner, str):
        raise InvalidInput(f"'{param}.{key}' must be a string.", code="invalid_type", param=f"{param}.{key}")
    return parse_image(inner, f"{param}.{key}")
