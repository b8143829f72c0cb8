"""Parses a string that stands for an image: base64, a data URI or a URL. Knows no network and no image format.

The API unwraps objects such as `{"url": ...}` before it calls this module.
"""

import binascii
import re
from dataclasses import dataclass

import pybase64

from blip_serve.errors import InvalidInput
from blip_serve.images.url import parse_url, unsupported_scheme

_DATA = re.compile(r"\s*+data:.{0,1024}?;base64,", re.IGNORECASE | re.ASCII | re.DOTALL)
_SCHEME = re.compile(r"\s*+([a-z][a-z0-9+.-]{0,30}):", re.IGNORECASE | re.ASCII)
_MAX_TYPE_CHARS = 1024
_WHITESPACE = b" \t\r\n\f\v"


@dataclass(frozen=True, slots=True)
class Base64Image:
    """An image file as base64 text, without the head of a data URI. `param`: the request's field."""

    text: str
    param: str


@dataclass(frozen=True, slots=True)
class UrlImage:
    """An image to fetch. The URL is well formed; its host is not yet checked."""

    url: str
    param: str


@dataclass(frozen=True, slots=True)
class BytesImage:
    """The bytes of an image file, such as an upload in a form."""

    data: bytes
    param: str


@dataclass(frozen=True, slots=True)
class UnreadableImage:
    """A value that is not an image, in a field for one. Loading it raises `error`."""

    error: InvalidInput
    param: str


ImageSource = Base64Image | UrlImage | BytesImage | UnreadableImage


def is_data_uri(value: str) -> bool:
    """Whether `value` is a base64 data URI. Its media type does not matter: the bytes show the format.

    Tells an image from a text in a field that accepts both.
    """
    return _DATA.match(value) is not None


def parse_image(value: str, param: str) -> ImageSource:
    """Reads a data URI, an http(s) URL or bare base64.

    Raises `InvalidInput`: `empty_image`, `invalid_data_uri`, `unsupported_url_scheme`, `invalid_url`, `blocked_url`.
    The base64 itself is checked by `decode_base64`.
    """
    if data := _DATA.match(value):
        return _base64(value[data.end() :], param)
    scheme = _SCHEME.match(value)
    if scheme is None:
        return _base64(value, param)
    if scheme[1].lower() == "data":
        raise _no_data_uri(value[scheme.end() :], param)
    if scheme[1].lower() not in ("http", "https"):
        raise unsupported_scheme(param)
    parse_url(value, param)
    return UrlImage(value, param)


def decode_base64(image: Base64Image, max_bytes: int) -> bytes:
    """The bytes of `image`, in the standard base64 alphabet with padding. Skips white space, as MIME does.

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
    """The error for a file over the limit."""
    return InvalidInput(f"The image is larger than {max_bytes} bytes.", code="image_too_large", param=param)


def empty_image(param: str) -> InvalidInput:
    """The error for an empty image."""
    return InvalidInput("The image is empty.", code="empty_image", param=param)


def _invalid_base64(param: str) -> InvalidInput:
    return InvalidInput(
        "The image is not valid base64; give base64, a data URI or an http(s) URL.", code="invalid_base64", param=param
    )


def _base64(text: str, param: str) -> Base64Image:
    if not text or text.isspace():
        raise empty_image(param)
    return Base64Image(text, param)


def _no_data_uri(rest: str, param: str) -> InvalidInput:
    """The error for a data URI that is not base64. `rest`: the part after `data:`."""
    media = rest[:_MAX_TYPE_CHARS].partition(",")[0].partition(";")[0].lower()
    if "/" in media and not media.startswith("image/"):
        return unsupported_scheme(param)
    return InvalidInput(
        "The data URI must read data:image/...;base64, followed by the image's bytes.",
        code="invalid_data_uri",
        param=param,
    )
