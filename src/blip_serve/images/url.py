"""Parses and checks the URL of an image, before any lookup. Knows no networks."""

import re

import httpx

from blip_serve.errors import InvalidInput
from blip_serve.hosts import is_address, is_disguised, is_name

MAX_URL_CHARS = 8192

BLANKS = " \t\r\n\f\v"
"""White space that is stripped from the ends of a URL. A space inside a URL becomes `%20`."""

_STRANGE = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f]")  # characters that URL parsers treat differently
_WEB = re.compile(r"https?:", re.IGNORECASE)
_AUTHORITY = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)


def parse_url(text: str, param: str) -> httpx.URL:
    """The URL in `text`: http or https, without a user, with a host name or an address in the usual notation.

    Strips white space, and turns a space inside the URL into `%20`.

    Raises `InvalidInput`: `unsupported_url_scheme`, `invalid_url`, or `blocked_url` if the host is an address in an
    unusual notation or ends with a dot. Such hosts only serve to get past a filter.
    """
    text = text.strip(BLANKS)
    if len(text) > MAX_URL_CHARS or _STRANGE.search(text := text.replace(" ", "%20")):
        raise _invalid(param)
    if not _WEB.match(text):
        raise unsupported_scheme(param)
    if not (authority := _AUTHORITY.match(text)) or "@" in authority[1]:
        raise _invalid(param)
    _refuse_disguised(authority[1].partition(":")[0], param)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise _invalid(param) from error
    _check_host(url.raw_host.decode("ascii"), param)
    return url


def unsupported_scheme(param: str) -> InvalidInput:
    """The error for a scheme other than http, https and data."""
    return InvalidInput(
        "The image must be an http or https URL, a data URI of an image, or base64.",
        code="unsupported_url_scheme",
        param=param,
    )


def blocked(param: str) -> InvalidInput:
    """The error for a URL to a host, port or address that is not allowed."""
    return InvalidInput(
        "This URL must not be fetched: only ports 80 and 443 of hosts on the public internet may be, and of those only "
        "what this service allows.",
        code="blocked_url",
        param=param,
    )


def _invalid(param: str) -> InvalidInput:
    return InvalidInput("The image's URL is not a valid http or https URL.", code="invalid_url", param=param)


def _check_host(host: str, param: str) -> None:
    # Checks the host a second time, as httpx normalized it: full-width digits and dots are now plain ones.
    _refuse_disguised(host, param)
    if not (is_address(host) or is_name(host)):
        raise _invalid(param)


def _refuse_disguised(host: str, param: str) -> None:
    if is_disguised(host):
        raise blocked(param)
