"""The image grammar: what a string standing where an image is expected means. Knows no network and no image format.

Objects such as `{"url": ...}` are unwrapped by the API before they come here.
"""

import binascii
import re
from dataclasses import dataclass

import pybase64

from blip_serve.errors import InvalidInput
from blip_serve.images.url import parse_url, unsupported_scheme

_SCHEME = re.compile(r"\s*+([a-z][a-z0-9+.-]{0,30}):", re.IGNORECASE | re.ASCII)
_MAX_HEAD_CHARS = 1024
_WHITESPACE = b" \t\r\n\f\v"


@dataclass(frozen=True, slots=True)
class Base64Image:
    """An image file as base64, without a data URI's head; not yet decoded. `param` is the request's field."""

    text: str
    param: str


@dataclass(frozen=True, slots=True)
class UrlImage:
    """An image to be fetched; the URL is well formed, where it leads is not yet known."""

    url: str
    param: str


@dataclass(frozen=True, slots=True)
class BytesImage:
    """An image file that came as such, in a form's part."""

    data: bytes
    param: str


ImageSource = Base64Image | UrlImage | BytesImage


def parse_image(value: str, param: str) -> ImageSource:
    """Reads a data URI, an http(s) URL or bare base64.

    Raises `InvalidInput`: `empty_image`, `invalid_data_uri`, `unsupported_url_scheme`, `invalid_url`, `blocked_url`.
    The base64 itself is checked by `decode_base64`.
    """
    scheme = _SCHEME.match(value)
    if scheme is None:
        return _base64(value, param)
    if scheme[1].lower() == "data":
        return _data_uri(value[scheme.end() :], param)
    if scheme[1].lower() not in ("http", "https"):
        raise unsupported_scheme(param)
    parse_url(value, param)
    return UrlImage(value, param)


def decode_base64(image: Base64Image, max_bytes: int) -> bytes:
    """The bytes of `image`: standard alphabet and padding; white space, as in MIME's lines, is skipped.

    Raises `InvalidInput`: `image_too_large` (before anything is decoded), `invalid_base64`.
    """
    try:
        text = image.text.encode("ascii").translate(None, _WHITESPACE)
        size = len(text) // 4 * 3 - text[-2:].count(b"=")
        if size > max_bytes:
            raise too_many_bytes(max_bytes, image.param)
        return pybase64.b64decode(text, validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _invalid_base64(image.param) from error


def too_many_bytes(max_bytes: int, param: str) -> InvalidInput:
    """The answer to a file over the limit."""
    return InvalidInput(f"The image is larger than {max_bytes} bytes.", code="image_too_large", param=param)


def empty_image(param: str) -> InvalidInput:
    """The answer to an image without a byte."""
    return InvalidInput("The image is empty.", code="empty_image", param=param)


def _invalid_base64(param: str) -> InvalidInput:
    return InvalidInput(
        "The image is not valid base64; give base64, a data URI or an http(s) URL.", code="invalid_base64", param=param
    )


def _base64(text: str, param: str) -> Base64Image:
    if not text or text.isspace():
        raise empty_image(param)
    return Base64Image(text, param)


def _data_uri(rest: str, param: str) -> Base64Image:
    """`rest` is what follows `data:`, by RFC 2397 a media type, parameters, a comma and the data."""
    comma = rest.find(",", 0, _MAX_HEAD_CHARS)
    media, *parameters = rest[: comma if comma >= 0 else _MAX_HEAD_CHARS].lower().split(";")
    is_image = media.startswith("image/")
    if "/" in media and not is_image:
        raise unsupported_scheme(param)
    if comma < 0 or not is_image or "base64" not in parameters:
        raise InvalidInput(
            "The data URI must read data:image/...;base64, followed by the image's bytes.",
            code="invalid_data_uri",
            param=param,
        )
    return _base64(rest[comma + 1 :], param)
