"""Hypothesis strategies: every form an image may come in, and near misses, at every place where one may stand."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from scoreboard.fuzzing.pictures import files

Part = tuple[str, tuple[str | None, bytes, str]]
"""Of a form: name, file name (`None`: a text), content, content type."""


def as_base64(data: bytes) -> str:
    """A file as clients send it in JSON, without a data URI's head."""
    return base64.b64encode(data).decode()


SOUND = [as_base64(data) for data in files()]
MEDIA = ("image/png", "image/jpeg", "image/svg+xml", "image/*", "image/", "text/html", "IMAGE/PNG", "", "/", "png")
SCHEMES = ("http", "https", "HTTP", "file", "ftp", "gopher", "javascript", "data", "", "http:", "https:/")
HOSTS = (
    "picture.test",
    "localhost",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "169.254.169.254",
    "10.0.0.1.",
    "１２７.0.0.1",
    "[fe80::1%25eth0]",
    "[::1",
    "bücher.test",
    "xn--a",
    "a..b",
    "-",
    "%31",
    "",
    "." * 300,
)
PORTS = ("", ":80", ":443", ":0", ":22", ":65536", ":-1", ":x", ":８０", ":" + "9" * 5000)

texts = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["", " ", "a red circle", "\0", "\u202e", "\ud800", "\x1b[31m", "🙂" * 9, "word " * 700, "x" * 20_000]
)
"""Texts, of which some hold lone surrogates: JSON can name them."""

scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))

payloads = st.one_of(
    st.sampled_from(SOUND),
    st.sampled_from(SOUND).flatmap(lambda text: st.integers(0, len(text)).map(lambda at: text[:at])),
    st.sampled_from(SOUND).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), texts).map(lambda drawn: text[: drawn[0]] + drawn[1])
    ),
    st.sampled_from(SOUND).map(lambda text: "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))),
    st.sampled_from(SOUND).map(lambda text: text.replace("+", "-").replace("/", "_")),
    st.binary(max_size=200).map(as_base64),
    texts,
)
data_uris = st.builds(
    lambda scheme, media, parameters, comma, payload: f"{scheme}{media}{parameters}{comma}{payload}",
    st.sampled_from(["data:", "DATA:", " data:", "data", "data::"]),
    st.sampled_from(MEDIA) | texts,
    st.sampled_from([";base64", ";charset=utf-8;base64", ";BASE64", "", ";base64;x=" + "y" * 2000, ";;"]),
    st.sampled_from([",", "", ",,"]),
    payloads,
)
urls = st.builds(
    lambda scheme, slashes, user, host, port, path: f"{scheme}:{slashes}{user}{host}{port}{path}",
    st.sampled_from(SCHEMES),
    st.sampled_from(["//", "//", "//", "/", "", "\\\\", "///"]),
    st.sampled_from(["", "", "user:pass@", "@", "a@b@", "127.0.0.1\\@"]),
    st.sampled_from(HOSTS) | texts,
    st.sampled_from(PORTS),
    st.sampled_from(["", "/", "/a.png", "/?q=#f", "/\t", "/\r\nHost: x", "/" + "a" * 9000]) | texts,
)
strings = data_uris | urls | payloads
objects = st.one_of(
    st.dictionaries(st.sampled_from(["url", "image", "detail", "file_id"]), strings | anything, max_size=3),
    strings.map(lambda text: {"url": text}),
    strings.map(lambda text: {"image": text}),
)
images = st.one_of(strings, strings, objects, anything)


@st.composite
def bodies(draw: st.DrawFn, example: Mapping[str, Any], names: Sequence[str]) -> bytes:
    """A request like `example`, as JSON: images, texts and now and then anything else in it are drawn anew.

    Up to two more fields, of `names`, hold anything.
    """
    more = draw(st.dictionaries(st.sampled_from(names), anything | images, max_size=2)) if draw(_seldom) else {}
    text = json.dumps(_spoiled(draw, {**example, **more}))
    cut = draw(st.none() | st.integers(0, len(text))) if draw(_seldom) else None
    return text[:cut].encode()


@st.composite
def forms(draw: st.DrawFn, names: Sequence[str]) -> list[Part]:
    """Parts of `multipart/form-data`, of `names` and others, texts and files."""
    files_or_texts = st.one_of(
        st.tuples(st.sampled_from(["a.png", "", "../../etc/passwd", "\0"]), _contents, _types),
        st.tuples(st.none(), strings.map(lambda text: text.encode("utf-8", "surrogatepass")), st.just("text/plain")),
    )
    return draw(st.lists(st.tuples(st.sampled_from([*names, "image", "caption", "other"]), files_or_texts), max_size=6))


_contents = st.binary(max_size=200) | st.sampled_from(SOUND).map(base64.b64decode)
_types = st.sampled_from(["image/png", "application/octet-stream", "text/plain; charset=utf-16", "x"])
_seldom = st.integers(0, 15).map(lambda drawn: drawn == 0)


def _spoiled(draw: st.DrawFn, value: Any) -> Any:
    if draw(_seldom):
        return draw(anything)
    if isinstance(value, Mapping):
        spoiled = {key: _spoiled(draw, inner) for key, inner in value.items()}
        return {**spoiled, draw(texts): draw(scalars)} if draw(_seldom) else spoiled
    if isinstance(value, list):
        return [_spoiled(draw, inner) for inner in value] * draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
    if isinstance(value, str) and value.startswith(("data:", "http")):
        return draw(images)
    return draw(texts) if isinstance(value, str) and draw(_seldom) else value
