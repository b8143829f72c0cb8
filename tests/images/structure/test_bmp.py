import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blip_serve.images.structure.bmp import MAX_RUNS, essence
from tests.images.samples import bmp_of_runs, file_bytes, gradient

FUZZ = settings(max_examples=200, deadline=None, derandomize=True)
COMMANDS = st.one_of(
    st.binary(min_size=2, max_size=2).filter(lambda run: run != b"\0\1"),
    st.tuples(st.integers(3, 20), st.binary(min_size=20, max_size=20)).map(lambda run: bytes((0, run[0])) + run[1]),
    st.just(b"\0\0"),
)


def pixels(data: bytes) -> bytes | None:
    """As Pillow reads them, if it does."""
    try:
        return Image.open(io.BytesIO(data), formats=["BMP"]).convert("RGB").tobytes()
    except ValueError:
        return None


@FUZZ
@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.lists(COMMANDS, max_size=60))
def test_runs_are_spelled_out_as_pillow_reads_them(
    width: int, height: int, nibbles: bool, commands: list[bytes]
) -> None:
    data = bmp_of_runs(width, height, b"".join(commands), nibbles=nibbles)
    try:
        found = pixels(essence(data).data)
    except ValueError:
        found = None
    assert found == pixels(data)


@pytest.mark.parametrize("nibbles", [False, True])
def test_every_kind_of_run_is_read(nibbles: bool) -> None:
    rows = b"\5\x12\0\0" + b"\0\5\1\x23\4\x56\7\0"[: 6 if nibbles else 8] + b"\0\2\2\1" + b"\3\x21\0\1"
    data = bmp_of_runs(5, 4, rows, nibbles=nibbles)
    assert pixels(data) is not None
    assert pixels(essence(data).data) == pixels(data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_bitmap_without_runs_is_left_as_it_is(mode: str) -> None:
    data = file_bytes(gradient(mode), "BMP")
    assert essence(data).data is data


def test_rows_from_the_top_stay_so() -> None:
    data = bytearray(bmp_of_runs(4, 2, b"\4\1\0\0\4\2\0\0"))
    data[22:26] = (-2).to_bytes(4, "little", signed=True)
    assert pixels(essence(bytes(data)).data) == pixels(bytes(data))


@pytest.mark.parametrize("run", [b"\0\0", b"\1\1", b"\0\2\0\0"])
def test_the_walk_is_bounded_in_steps(run: bytes) -> None:
    end = b"\0\0" + b"\2\1\0\0" * 2
    picture = bmp_of_runs(2, 2, run * (MAX_RUNS - 5) + end)
    if run == b"\1\1":  # the others add no pixel
        picture = bmp_of_runs(2, 2, b"\2\1" + run * (MAX_RUNS - 5) + end[2:])
    assert len(essence(picture).data) == 14 + 40 + 1024 + 8
    with pytest.raises(ValueError, match="too many"):
        essence(bmp_of_runs(2, 2, b"\2\1" + run * MAX_RUNS + end))


def test_runs_that_are_too_few_are_refused() -> None:
    for rows in (b"", b"\2\1", b"\2\1\0\1"):
        with pytest.raises(ValueError):  # noqa: PT011
            essence(bmp_of_runs(2, 2, rows))
