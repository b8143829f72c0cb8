import base64
import pickle
import time
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blip_serve.errors import InvalidInput
from blip_serve.images.reference import Base64Image, BytesImage, ImageSource, UrlImage, decode_base64, parse_image

from .refusals import refused

MANY = settings(max_examples=150, deadline=None, derandomize=True)
DATA = bytes(range(256))
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "value",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"DATA:IMAGE/PNG;BASE64,{TEXT}",
        f"data:image/png;charset=utf-8;base64,{TEXT}",
        f'data:image/svg+xml;name="a";base64,{TEXT}',
        f"\n data:image/png;base64,{TEXT}",
        f"data:image;base64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"data:application/octet-stream;base64,{TEXT}",
        f"data:text/html;base64,{TEXT}",
        f'data:image/png;name="a,b";base64,{TEXT}',
        base64.encodebytes(DATA).decode(),
        TEXT.replace("A", "A\r\n\t "),
    ],
)
def test_base64_and_data_uris_give_their_bytes(value: str) -> None:
    image = parse_image(value, "image")
    assert isinstance(image, Base64Image)
    assert decode_base64(image, 256) == DATA


@pytest.mark.parametrize("value", ["http://pictures.test/a.png", "HTTPS://pictures.test:443/a.png?x=data:image/png,"])
def test_urls_are_kept_as_they_are(value: str) -> None:
    assert parse_image(value, "images[0]") == UrlImage(value, "images[0]")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "empty_image"),
        (" \n", "empty_image"),
        ("data:image/png;base64,", "empty_image"),
        ("data:image/png;base64, \r\n", "empty_image"),
        ("data:", "invalid_data_uri"),
        ("data:,", "invalid_data_uri"),
        ("data:iVBORw0KGgo=", "invalid_data_uri"),
        ("data:image/png;base64", "invalid_data_uri"),
        (f"data:image/png,{TEXT}", "invalid_data_uri"),
        ("data:image/svg+xml,<svg/>", "invalid_data_uri"),
        ("data:image/png;" + "x;" * 1000 + f"base64,{TEXT}", "invalid_data_uri"),
        ("data:text/html,<p>", "unsupported_url_scheme"),
        ("data:text/html;base64", "unsupported_url_scheme"),
        ("data:text/html", "unsupported_url_scheme"),
        ("file:///etc/passwd", "unsupported_url_scheme"),
        ("ftp://pictures.test/a.png", "unsupported_url_scheme"),
        ("gopher://pictures.test/_", "unsupported_url_scheme"),
        ("javascript:alert(1)", "unsupported_url_scheme"),
        ("C:\\dog.png", "unsupported_url_scheme"),
        ("http://", "invalid_url"),
        ("http://pictures.test/\na", "invalid_url"),
        ("http://pictures.test/\ta", "invalid_url"),
        ("http://127.0.0.1 /", "invalid_url"),
        ("\n http://127.1/ \n", "blocked_url"),
        ("http://127.1/", "blocked_url"),
    ],
)
def test_what_is_no_image_is_refused_by_code(value: str, code: str) -> None:
    with refused(code, "image"):
        parse_image(value, "image")


@pytest.mark.parametrize(
    "text",
    [
        "QQ",
        "QQ=",
        "Q",
        "====",
        "=QQ=",
        "QQ==QQ==",
        "QUJD=",
        "QUJD====",
        "QU-_",
        "QU%2B",
        "QUJD!",
        "dog.png",
        "QÜJD",
        "\ud800",
        "QUJD\0",
    ],
)
def test_base64_of_the_wrong_alphabet_or_padding_is_refused(text: str) -> None:
    with refused("invalid_base64", "image"):
        decode_base64(Base64Image(text, "image"), 1000)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 300])
def test_the_byte_limit_is_exact(size: int) -> None:
    image = Base64Image(base64.b64encode(bytes(size)).decode(), "image")
    assert decode_base64(image, size) == bytes(size)
    with refused("image_too_large", "image"):
        decode_base64(image, size - 1)


def test_the_size_is_checked_before_the_alphabet() -> None:
    with refused("image_too_large", "image"):
        decode_base64(Base64Image("!" * 1000, "image"), 100)


def test_large_strings_are_sorted_without_delay() -> None:
    began = time.process_time()
    for value in ("A" * 10_000_000, "data:image/png;base64," + "A" * 10_000_000, "data:image/png" + ";" * 10_000_000):
        with suppress(InvalidInput):
            parse_image(value, "image")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("source", [Base64Image("QQ==", "a"), UrlImage("http://h/", "b"), BytesImage(b"x", "c")])
def test_sources_can_cross_a_process_border(source: ImageSource) -> None:
    assert pickle.loads(pickle.dumps(source)) == source


@MANY
@given(st.text())
@example("data:image/\ud800;base64,\ud800")
def test_any_text_is_read_or_refused(value: str) -> None:
    assert _param(value) == "image"


@MANY
@given(
    st.sampled_from(["http://", "https://", "HTTP:", "http:/", "data:", "data:image/png;base64,", "file:", "\t", ""]),
    st.text(alphabet=st.sampled_from("aA1.:/@[]%?#\\;,=-_ \n\x00\u3002\uff11\u00fc\u200d\ud800")),
)
def test_text_that_looks_like_a_reference_is_read_or_refused(start: str, rest: str) -> None:
    assert _param(start + rest) == "image"


@MANY
@given(st.binary(min_size=1))
def test_base64_of_any_bytes_gives_them_back(data: bytes) -> None:
    image = parse_image(base64.b64encode(data).decode(), "image")
    assert isinstance(image, Base64Image)
    assert decode_base64(image, len(data)) == data


def _param(value: str) -> str | None:
    """The field that the parsed image, or the error, names."""
    try:
        source = parse_image(value, "image")
        if isinstance(source, Base64Image):
            decode_base64(source, 100)
    except InvalidInput as error:
        return error.param
    return source.param
