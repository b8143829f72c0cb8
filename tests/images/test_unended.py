import io
from typing import Any

import pytest
from PIL import Image

from blip_serve.images.structure.jpeg import essence
from blip_serve.images.unended import with_end

from .samples import file_bytes, gradient

NOISE = Image.effect_noise((60, 40), 90).convert("RGB")
BOX = Image.new("RGB", (100, 100), "white")
BOX.paste((220, 30, 30), (30, 30, 60, 60))
PICTURES = {
    "gradient": gradient(size=(93, 61)),
    "noise": NOISE,
    "box": BOX,
    "flat": Image.new("RGB", (33, 70), (200, 30, 30)),
    "white": Image.new("L", (64, 48), "white"),
    "CMYK": gradient("CMYK"),
}
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "finest": {"quality": 100, "progressive": True},
    "restarts": {"restart_marker_blocks": 3},
}
FILES = {
    f"{name}, {kind}": file_bytes(picture, "JPEG", **options)
    for name, picture in PICTURES.items()
    for kind, options in KINDS.items()
}


def whole(data: bytes) -> bytes:
    return with_end(essence(data).data)


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data), formats=["JPEG"]).tobytes()


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.parametrize("cut", [1, 2])
def test_only_the_end_is_missing(data: bytes, cut: int) -> None:
    assert pixels(with_end(data[:-cut])) == pixels(data)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.parametrize("filling", [b"", bytes(500)], ids=["cut off", "never filled"])
def test_where_pixels_are_missing_the_file_is_refused(data: bytes, filling: bytes) -> None:
    """If the file is accepted, the picture must be whole."""
    scan = data.rindex(b"\xff\xda") + 20
    steps = 1 + max(0, len(data) - scan) // 20
    for end in {*range(scan, len(data) - 2, steps), *range(max(scan, len(data) - 12), len(data) - 2)}:
        assert read(data[:end] + filling) in (None, pixels(data))


def read(data: bytes) -> bytes | None:
    try:
        return pixels(whole(data))
    except ValueError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_noise_that_is_cut_off_is_refused(kind: str) -> None:
    data = FILES[f"noise, {kind}"]
    for kept in (0.5, 0.9, 0.99):
        with pytest.raises(ValueError, match="missing"):
            whole(data[: int(len(data) * kept)])
