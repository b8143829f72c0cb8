"""Hosts in URLs and in settings: tells names from addresses, and brings both to one spelling to compare them."""

import re
from ipaddress import ip_address, ip_network

import httpx

MAX_NAME_CHARS = 253

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NO_HOST = re.compile(r"[\s/?#@:%\\\[\]]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_ENDPOINT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})")


def is_address(host: str) -> bool:
    """Whether `host` is an IP address in its usual notation, without brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: `localhost`, a name below it, or a loopback address."""
    if is_address(host):
        address = ip_address(host)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def is_name(host: str) -> bool:
    """Whether `host` is a DNS name: lower case, ASCII, no final dot."""
    return len(host) <= MAX_NAME_CHARS and _NAME.fullmatch(host) is not None


def is_disguised(host: str) -> bool:
    """Whether `host` ends with a dot, or is an address in a form that only resolvers read (`127.1`, `0x7f000001`)."""
    last = host.rpartition(".")[2]
    return bool(host) and (not last or _NUMBER.fullmatch(last) is not None) and not is_address(host)


def same_spelling(host: str) -> str:
    """A host's name or address in the spelling used to compare hosts: lower case, IDNA, no final dot, no brackets.

    Raises `ValueError` if `host` is neither a name nor an address.
    """
    if is_address(bare := host.removeprefix("[").removesuffix("]")):
        return str(ip_address(bare))
    if not _NO_HOST.search(host):
        try:
            name = httpx.URL(f"http://{host.removesuffix('.')}/").raw_host.decode("ascii")
        except (httpx.InvalidURL, ValueError):
            name = ""
        if is_name(name) and not is_disguised(name):
            return name
    raise ValueError("neither a host's name nor an address")


def host_pattern(text: str) -> str:
    """A host, or `*.` and a name for all hosts below it, in the spelling of `same_spelling`. Raises `ValueError`."""
    if text.startswith("*."):
        return f"*.{same_spelling(text[2:])}"
    return same_spelling(text)


def host_pattern_or_network(text: str) -> str:
    """A pattern as in `host_pattern`, or a network such as `203.0.113.0/24`. Raises `ValueError`."""
    return str(ip_network(text)) if "/" in text else host_pattern(text)


def endpoint(text: str) -> str:
    """`host` or `host:port` in one spelling; an IPv6 address with a port has brackets. Raises `ValueError`."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        return same_spelling(text)
    if not 0 < int(found[2]) < 65536:
        raise ValueError("the port must be 1 to 65535")
    return endpoint_of(same_spelling(found[1]), int(found[2]))


def origin(text: str) -> str:
    """The origin of a web page as browsers send it, without a default port, or `*` for all. Raises `ValueError`."""
    if text == "*":
        return text
    scheme, separator, authority = text.lower().removesuffix("/").partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ValueError("an origin such as https://example.org or http://localhost:3000, or *")
    spelled = endpoint(authority)
    host = f"[{spelled}]" if is_address(spelled) and ":" in spelled else spelled
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ' '))}"


def endpoint_of(host: str, port: int) -> str:
    """`host:port` as `endpoint` returns it. `host` is in the spelling of `same_spelling`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def matches(host: str, pattern: str) -> bool:
    """Whether `pattern` covers `host`, which is in the spelling of `same_spelling`."""
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
