"""Rows 1 to 16: images that are empty, damaged, oversized, or unusual and sound."""

import base64
import io
import math
import struct
import zlib
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import BmpImagePlugin, Image, ImageOps

from blip_serve.settings import DEMO
from tests.images.samples import avif_of_items, chunk, file_bytes, gradient, png, webp
from tests.support.asking import response_input
from tests.support.errors import check
from tests.support.memory import memory_within
from tests.support.pictures import data_uri, encoded, picture
from tests.support.server import Service, serving, settings
from tests.threats.cases import GOOD, IMAGE, PICTURE, Case, cases, check_case, check_serves_on

# As in production (`cli`): what Pillow thinks of an image concerns nobody.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

PNG = encoded(picture(1))
TEXT = base64.b64encode(PNG).decode()
NOISE = Image.effect_noise((64, 64), 100).convert("RGB")
MB = 1_000_000
JPEG, GIF, WEBP = (file_bytes(gradient(), kind) for kind in ("JPEG", "GIF", "WEBP"))
PALETTE = 13 + 768  # where a GIF's ends


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def with_image(image: object) -> dict[str, object]:
    return GOOD | {"image": image}


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(20)


def bmp(width: int, height: int) -> bytes:
    data = bytearray(file_bytes(gradient(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(file_bytes(gradient(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def valid_png(width: int, height: int) -> bytes:
    """All rows are there, a bit a pixel."""
    return png(width, height, (b"IDAT", zlib.compress(bytes((width // 8 + 1) * height))), depth=1, colour=0)


def frames(kind: str, **options: Any) -> bytes:
    first, *others = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green"))
    return file_bytes(first, kind, save_all=True, append_images=others, duration=50, **options)


FLOODS = {
    "PNG of empty chunks": png(1, 1, *[(b"abCd", b"")] * 101_000),
    "PNG of empty pixels": png(1, 1, *[(b"IDAT", b"")] * 101_000),
    "PNG of texts": png(1, 1, *[(b"tEXt", b"%d\0" % n) for n in range(101_000)]),
    "PNG of empty chunks at its end": PNG[:-12] + b"\0\0\0\0abCd\0\0\0\0" * 101_000,
    "GIF of comments": GIF[:PALETTE] + b"!\xfe\0" * 101_000 + GIF[PALETTE:],
    "GIF of one-byte blocks": GIF[:PALETTE] + b"!\xfe" + b"\1a" * 101_000 + b"\0" + GIF[PALETTE:],
    "JPEG of fill bytes": JPEG[:2] + b"\xff" * MB + JPEG[2:],
    "JPEG of fill bytes at its end": JPEG[:-2] + b"\xff" * MB + JPEG[-2:],
    "WebP of empty chunks": WEBP + b"abcd\0\0\0\0" * 101_000,
    "AVIF of items": avif_of_items(5_000),
}
# What is said beside a picture, and said badly.
BESIDE = {
    "long iCCP": chunk(b"iCCP", b"lut\0\0" + zlib.compress(bytes(2 * MB))),
    "long zTXt": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b'{"node": 1}' * 110_000)),
    "long iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(bytes(2 * MB))),
    "zTXt of an unknown method": chunk(b"zTXt", b"Comment\0\7x"),
    "tEXt with a bad CRC": chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?",
    "eXIf with a bad CRC": chunk(b"eXIf", b"II*\0")[:-1] + b"?",
    "empty sRGB": chunk(b"sRGB", b""),
    "short pHYs": chunk(b"pHYs", b"\0\0"),
    "short gAMA": chunk(b"gAMA", b"\0"),
    "short cHRM": chunk(b"cHRM", b"\0"),
    "short acTL": chunk(b"acTL", b"\0"),
}
FITS = b"SIMPLE  =                    T" + b" " * 2850
OTHERS = {
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "EPS": file_bytes(gradient(), "EPS"),
    "FITS": FITS,
    "PDF": file_bytes(gradient(), "PDF"),
    "HTML": b"<!doctype html><p>no picture",
    "ZIP": b"PK\x03\x04" + bytes(100),
    "ICO": file_bytes(gradient(), "ICO"),
    "text": b"no picture",
}


@cases(
    Case(1, "data URI", with_image("data:image/png;base64,"), "empty_image"),
    Case(1, "white space", with_image("data:image/png;base64, \r\n"), "empty_image"),
    Case(1, "in an object", with_image({"url": "data:image/png;base64,"}), "empty_image", "image.url"),
    Case(1, "nothing at all", with_image(""), "empty_image"),
    Case(2, "no comma", with_image("data:image/png;base64"), "invalid_data_uri"),
    Case(2, "no base64", with_image(f"data:image/png,{TEXT}"), "invalid_data_uri"),
    Case(2, "percent encoding", with_image("data:image/svg+xml,%3Csvg/%3E"), "invalid_data_uri"),
    Case(3, "alphabet", with_image("data:image/png;base64,QU-_"), "invalid_base64"),
    Case(3, "padding", with_image("data:image/png;base64,QUJD="), "invalid_base64"),
    Case(3, "no padding", with_image("data:image/png;base64,QQ"), "invalid_base64"),
    Case(3, "twice", with_image("data:image/png;base64,QQ==QQ=="), "invalid_base64"),
    Case(3, "bare", with_image("not base64!"), "invalid_base64"),
    Case(4, "parameter", with_image(f"data:image/png;charset=utf-8;base64,{TEXT}")),
    Case(4, "quoted parameter", with_image(f'data:image/png;name="a b";x=y;base64,{TEXT}')),
    Case(4, "capitals", with_image(f"DATA:IMAGE/PNG;BASE64,{TEXT}")),
    Case(4, "no type", with_image(f"data:;base64,{TEXT}")),
    Case(4, "half a type", with_image(f"data:image;base64,{TEXT}")),
    Case(4, "bytes", with_image(f"data:application/octet-stream;base64,{TEXT}")),
    Case(4, "a text that is a picture", with_image(f"data:text/plain;base64,{TEXT}")),
    Case(5, "HTML", with_image("data:text/html;base64,PHA+"), "unsupported_image_format"),
    Case(5, "TIFF as PNG", with_image(uri(file_bytes(gradient(), "TIFF"))), "unsupported_image_format"),
    *(
        Case(6, name, with_image(uri(data, f"image/{name.lower()}")), "unsupported_image_format")
        for name, data in OTHERS.items()
    ),
    Case(6, "HEIC", with_image(uri(file_bytes(gradient(), "HEIC"), "image/heic")), "unsupported_image_format"),
    Case(10, "1x1", with_image(data_uri(picture(1, 1, 1)))),
    Case(10, "1xN", with_image(data_uri(picture(1, 1, 500)))),
    Case(10, "3xN", with_image(data_uri(picture(1, 3, 500)))),
    Case(10, "Nx1", with_image(data_uri(picture(1, 500, 1)))),
    Case(11, "PNG of width 0", with_image(uri(png(0, 10))), "invalid_image_dimensions"),
    Case(11, "PNG of height 0", with_image(uri(png(10, 0))), "invalid_image_dimensions"),
    Case(11, "100000x1", with_image(uri(png(100_000, 1))), "invalid_image_dimensions"),
    Case(11, "1x100000", with_image(uri(png(1, 100_000))), "invalid_image_dimensions"),
    Case(11, "GIF of nothing", with_image(uri(gif(0, 0))), "invalid_image_dimensions"),
    Case(11, "BMP of width 0", with_image(uri(bmp(0, 17))), "invalid_image_dimensions"),
    Case(11, "JPEG of height 0", with_image(uri(jpeg(10, 0))), "invalid_image_dimensions"),
    *(
        Case(12, f"{kind} cut at {kept}", with_image(uri(data[: int(len(data) * kept)])), "invalid_image")
        for kind, data in (
            (kind, file_bytes(NOISE, kind)) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
        )
        for kept in (0.3, 0.9)
    ),
    Case(12, "JPEG without its end", with_image(uri(file_bytes(NOISE, "JPEG")[:-2]))),
    Case(12, "PNG without its end", with_image(uri(PNG[:-12]))),
    Case(12, "signature alone", with_image(uri(PNG[:16])), "invalid_image"),
    Case(12, "JPEG of fill bytes", with_image(uri(b"\xff\xd8" + b"\xff" * 2_000_000 + b"\x00")), "invalid_image"),
    Case(12, "JPEG of comments", with_image(uri(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 2_000_000)), "invalid_image"),
    Case(12, "second of two", {"images": [IMAGE, uri(PNG[:-30])], "caption": "a"}, "invalid_image", "images[1]"),
    Case(12, "of a chat", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {
        "url": uri(PNG[:-30])}}]}]}, "invalid_image", "messages[0].content[0].image_url.url",
        path="/v1/chat/completions"),
    Case(12, "of an embedding", {"input": {"image": uri(PNG[:-30])}}, "invalid_image", "input.image",
         path="/v1/embeddings"),
    Case(16, "images", {"images": [IMAGE] * 5, "caption": "a"}, "too_many_images", "images"),
    Case(16, "captions", {"image": IMAGE, "captions": ["a"] * 9}, "too_many_captions", "captions"),
    Case(16, "pairs", {"images": [IMAGE] * 4, "captions": ["a"] * 8}, "too_many_captions", "captions"),
    Case(16, "images beyond reading", {"images": [IMAGE[:9]] * 20_000, "caption": "a"}, "too_many_images", "images"),
    Case(16, "captions beyond reading", {"image": IMAGE, "captions": ["a"] * 20_000}, "too_many_captions", "captions"),
    Case(16, "inputs", {"input": ["a"] * 9}, "too_many_captions", "input", path="/v1/embeddings"),
    Case(16, "documents", {"query": {"image": IMAGE}, "documents": ["a"] * 9}, "too_many_captions", "documents",
         path="/v1/rerank"),
    Case(16, "documents of a Cohere client", {"query": "a", "documents": [{"image": IMAGE}] * 5}, "too_many_images",
         "documents", path="/v2/rerank"),
    Case(16, "pairs to score", {"queries": [{"image": IMAGE}] * 5, "documents": ["a"] * 5}, "too_many_images",
         "queries", path="/v1/score"),
    Case(16, "images of a chat", {"messages": [{"role": "user", "content": [PICTURE, PICTURE]}]}, "too_many_images",
         "messages[0].content[1]", path="/v1/chat/completions"),
    Case(16, "images of a response", {"input": [{"role": "user", "content": [
        *response_input()[0]["content"], *response_input()[0]["content"]]}]},  # type: ignore[typeddict-item]
        "too_many_images", "input[0].content[1]", path="/v1/responses"),
)  # fmt: skip
def test_refused_or_answered(demo: Service, case: Case) -> None:
    check_case(demo, case)


@pytest.mark.parametrize("parts", ["image", "caption"])
@pytest.mark.parametrize("count", [9, 200], ids=["row16-form over the limit", "row16-form beyond reading"])
def test_too_many_parts_of_a_form(demo: Service, parts: str, count: int) -> None:
    files = [("image", ("file", PNG))] * (count if parts == "image" else 1)
    data = {"caption": ["a"] * (count if parts == "caption" else 1)}
    check(demo.client.post("/v1/match", data=data, files=files), 400, f"too_many_{parts}s", f"{parts}s")
    check_serves_on(demo)


@cases(
    *(
        Case(8, f"{kind} of {width}x{height}", with_image(uri(data)), "image_too_large")
        for kind, width, height, data in (
            ("PNG", 60_000, 60_000, png(60_000, 60_000)),
            ("JPEG", 60_000, 60_000, jpeg(60_000, 60_000)),
            ("GIF", 60_000, 60_000, gif(60_000, 60_000)),
            ("BMP", 60_000, 60_000, bmp(60_000, 60_000)),
            ("WebP", 16_000, 16_000, webp(16_000, 16_000)),
        )
    ),
    Case(8, "GIF whose frame outgrows it", with_image(uri(
        b"GIF89a\1\0\1\0\0\0\0!\xf9\4\x0d\0\0\0\0," + struct.pack("<HHHH", 0, 0, 9_000, 9_000) + b"\0\2\1\0\0;")),
        "image_too_large"),
    Case(9, "12000x12000", with_image(uri(valid_png(12_000, 12_000))), "image_too_large"),
    Case(9, "a row over 40 megapixels", with_image(uri(valid_png(8_000, 5_001))), "image_too_large"),
    *(
        Case(13, name, with_image(uri(png(1, 1, chunk))))
        for name, chunk in {
            "zTXt": (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50 * MB))),
            "iTXt": (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(50 * MB))),
            "iCCP": (b"iCCP", b"profile\0\0" + zlib.compress(bytes(50 * MB))),
            "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(50 * MB))),
        }.items()
    ),
    *(Case(81, name, with_image(uri(data)), "invalid_image") for name, data in FLOODS.items()),
)  # fmt: skip
def test_refused_or_answered_in_little_memory(demo: Service, case: Case) -> None:
    check_serves_on(demo)  # what a first answer takes is no matter of the image
    with memory_within(20 * MB):
        check_case(demo, case)


def test_row09_as_large_as_the_limit_is_answered(demo: Service) -> None:
    check_case(demo, Case(9, "40 megapixels", with_image(uri(valid_png(8_000, 5_000)))))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(failure, id=f"row15-{type(failure).__name__}")
        for failure in (SyntaxError("secret"), struct.error("unpack"), ValueError(), EOFError(),
                        OSError(28, "secret"), IndexError(), KeyError("a"), TypeError(), zlib.error(), RecursionError())
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", ["_open", "load"])
def test_whatever_a_decoder_raises(
    demo: Service, failure: Exception, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(BmpImagePlugin.BmpImageFile, step, fail)
    check_case(demo, Case(15, step, with_image(uri(file_bytes(gradient(), "BMP"))), "invalid_image"))


@pytest.mark.parametrize("step", ["_open", "load"])
def test_row15_a_decoder_without_memory_is_no_fault_of_the_image(
    step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: object) -> NoReturn:
        raise MemoryError("what was tried")

    with serving(settings(models=(DEMO,))) as service:
        monkeypatch.setattr(BmpImagePlugin.BmpImageFile, step, fail)
        answer = service.client.post("/v1/match", json=with_image(uri(file_bytes(gradient(), "BMP"))))
        check(answer, 503, "out_of_memory", None)
        assert answer.headers["retry-after"]
        check_serves_on(service)
    assert "MemoryError: what was tried" in capsys.readouterr().err


def turned(orientation: int) -> tuple[bytes, Image.Image]:
    """A file whose EXIF data say how to turn it, and the picture as it should be read."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_bytes(gradient(), "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright is not None
    return data, upright.convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")


def see_through(mode: str) -> Image.Image:
    image = gradient("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: 255 * (value > 100)))
    return image.convert(mode)


def half_palette() -> tuple[bytes, Image.Image]:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.paste(1, (0, 0, 8, 16))
    expected = Image.new("RGB", (16, 16), "white")
    expected.paste((255, 0, 0), (0, 0, 8, 16))
    return file_bytes(image, "PNG", transparency=0), expected


def sixteen_bits() -> tuple[bytes, Image.Image]:
    upper = np.arange(256, dtype=np.uint16).reshape(16, 16)
    return (
        file_bytes(Image.fromarray(upper * 256 + 77), "PNG"),
        Image.fromarray(upper.astype(np.uint8)).convert("RGB"),
    )


CMYK = file_bytes(gradient("CMYK"), "JPEG")
RED = Image.new("RGB", (16, 16), "red")
UNUSUAL = {
    "row07-GIF": (frames("GIF"), RED),
    "row07-WebP": (frames("WEBP", lossless=True), RED),
    "row07-APNG": (frames("PNG"), RED),
    "row14-CMYK": (CMYK, Image.open(io.BytesIO(CMYK)).convert("RGB")),
    "row14-16 bits": sixteen_bits(),
    "row14-RGBA": (file_bytes(see_through("RGBA"), "PNG"), on_white(see_through("RGBA"))),
    "row14-LA": (file_bytes(see_through("LA"), "PNG"), on_white(see_through("LA"))),
    "row14-palette": half_palette(),
    **{f"row14-orientation {n}": turned(n) for n in range(1, 9)},
    **{f"row82-{name}": (PNG[:33] + beside + PNG[33:], picture(1)) for name, beside in BESIDE.items()},
}


@pytest.mark.parametrize(("data", "expected"), UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_images_are_scored_as_the_pixels_documented(demo: Service, data: bytes, expected: Image.Image) -> None:
    """As the same pixels in a plain PNG are: to the last bit that a step's order of sums leaves alone."""
    odd, plain = (
        demo.client.post("/v1/match", json={"image": image, "caption": "a large red circle"}).json()["data"][0]
        for image in (uri(data), data_uri(expected))
    )
    assert odd["cosine_score"] == pytest.approx(plain["cosine_score"], abs=1e-5)
    assert odd["itm_logits"] == pytest.approx(plain["itm_logits"], abs=1e-4)
    assert math.isfinite(odd["itm_score"])
    check_serves_on(demo)


def test_row06_tiff_and_heic_are_read_where_the_settings_add_them() -> None:
    formats = ("PNG", "TIFF", "HEIC")
    with serving(settings(models=(DEMO,), images={"formats": formats})) as service:
        for kind in formats:
            check_case(service, Case(6, kind, with_image(uri(file_bytes(gradient(), kind)))))
        check_case(service, Case(6, "JPEG", with_image(uri(JPEG)), "unsupported_image_format"))
        told = service.client.post("/v1/match", json=with_image(uri(JPEG))).json()["error"]["message"]
        assert told == "The image's format is not supported; give one of HEIC, PNG, TIFF."
        cut = file_bytes(NOISE, "TIFF", compression="tiff_lzw")[:-500]
        check_case(service, Case(12, "TIFF cut off", with_image(uri(cut)), "invalid_image"))
