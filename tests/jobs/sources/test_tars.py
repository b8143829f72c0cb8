"""Tars as rows."""

import json
import tarfile
from pathlib import Path

import pytest

from blip_serve.images.reference import BytesImage, UnreadableImage
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.records import Columns, Records
from blip_serve.jobs.sources.tars import Tars
from tests.jobs.sources.reading import error_of, rows_of, written
from tests.jobs.sources.tarring import special, tar_of, tar_with
from tests.support.pictures import encoded, picture

PNG = encoded(picture(1))


def tars(tmp_path: Path, data: bytes, **options: object) -> Tars:
    return Tars(Files((written(tmp_path / "x.tar", data),)), Records(**options))  # type: ignore[arg-type]


def test_a_sample_is_a_row_with_its_picture_texts_and_columns(tmp_path: Path) -> None:
    about = json.dumps({"url": "https://example.com/1.png", "width": 80}).encode()
    source = tars(
        tmp_path,
        tar_of(
            {
                "./a/0001.PNG": PNG, "./a/0001.txt": b"a dog", "./a/0001.json": about, "a/0001.pyd": b"cos\nsystem\n.",
                "a/0002.json": b"{}", "a/0002.img": PNG, "README": b"x", "b/0002.jpg": b"", "b/0003.txt": b"text only",
            }
        ),
    )  # fmt: skip
    for size in (1, 2, 256):
        rows = rows_of(source, size)
        assert [row.key for row in rows] == ["x.tar:a/0001", "x.tar:a/0002", "x.tar:b/0002", "x.tar:b/0003"]
    assert [row.picture for row in rows[:2]] == [BytesImage(PNG, "png"), BytesImage(PNG, "img")]
    assert rows[0].fields == {"url": "https://example.com/1.png", "width": 80, "txt": "a dog"}
    assert isinstance(rows[2].picture, UnreadableImage)
    assert rows[2].picture.error.code == "empty_image"
    assert (rows[3].picture, rows[3].fields) == (None, {"txt": "text only"})
    assert source.columns() == {"url": "string", "width": "integer", "txt": "string"}


def test_the_picture_may_be_named_and_so_may_the_key(tmp_path: Path) -> None:
    data = tar_of({"1.left.png": b"left", "1.right.png": PNG, "1.json": b'{"id": "one"}'})
    (row,) = rows_of(tars(tmp_path, data, columns=Columns(picture="right.png", key="id")))
    assert (row.key, row.picture) == ("one", BytesImage(PNG, "right.png"))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read(tmp_path: Path, form: int) -> None:
    name = "é" * 30 + "/x" * 100
    rows = rows_of(tars(tmp_path, tar_of({f"{name}.png": PNG, f"{name}.txt": b"x", "z.png": PNG}, form)))
    assert [row.key for row in rows] == [f"x.tar:{name}", "x.tar:z"]
    assert rows[0].fields == {"txt": "x"}


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (special("b.png", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (special("b.png", tarfile.LNKTYPE, "a.png"), "a link"),
        (special("b.png", tarfile.CHRTYPE), "no regular file"),
        (special("b.png", tarfile.FIFOTYPE), "no regular file"),
        ((tarfile.TarInfo("../b.png"), PNG), "a name that leads elsewhere"),
        ((tarfile.TarInfo("/etc/b.png"), PNG), "a name that leads elsewhere"),
        ((tarfile.TarInfo("x\\..\\b.png"), PNG), "a name that leads elsewhere"),
        ((tarfile.TarInfo("\x1b[2Jb.png"), PNG), "a name that cannot be printed"),
    ],
)
def test_a_member_that_must_not_be_read_is_an_error(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes], reason: str
) -> None:
    good = [(tarfile.TarInfo(name), PNG) for name in ("a.png", "c.png")]
    rows = rows_of(tars(tmp_path, tar_with(good[0], member, good[1])))
    assert [row.error is None for row in rows] == [True, False, True]
    code, message = error_of(rows[1])
    assert code == "invalid_tar"
    assert message.endswith(f"the member at byte 1024 is {reason}") or reason in message
    assert ".." not in rows[1].key
    assert rows[1].key.isprintable()


def test_a_sparse_member_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("b.png")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 15}
    rows = rows_of(tars(tmp_path, tar_with((info, PNG), (tarfile.TarInfo("c.png"), PNG))))
    assert "is a sparse file" in error_of(rows[0])[1]
    assert rows[1].picture == BytesImage(PNG, "png")


def test_a_sample_over_the_bound_is_an_error_and_its_neighbours_are_read(tmp_path: Path) -> None:
    data = tar_of({"a.png": PNG, "b.png": PNG, "b.txt": b"x" * 20_000, "c.png": PNG})
    rows = rows_of(tars(tmp_path, data, max_row_bytes=len(PNG) + 10_000))
    assert [row.error is None for row in rows] == [True, False, True]
    assert error_of(rows[1])[0] == "row_too_large"


@pytest.mark.parametrize(("name", "data"), [("json", b"[1]"), ("txt", b"\xff"), ("json", b"{")])
def test_text_that_is_wrong_is_an_error(tmp_path: Path, name: str, data: bytes) -> None:
    (row,) = rows_of(tars(tmp_path, tar_of({"a.png": PNG, f"a.{name}": data})))
    assert error_of(row)[0] == "invalid_json"


def test_two_members_of_one_ending_are_an_error(tmp_path: Path) -> None:
    (row,) = rows_of(tars(tmp_path, tar_with((tarfile.TarInfo("a.png"), PNG), (tarfile.TarInfo("a.PNG"), PNG))))
    assert "two members end with .png" in error_of(row)[1]


def test_a_damaged_header_ends_the_file_with_its_byte_and_the_next_file_is_read(tmp_path: Path) -> None:
    data = bytearray(tar_of({"a.png": b"x" * 500, "b.png": b"x" * 500, "c.png": b"x" * 500}))
    data[2048:2060] = b"\xff" * 12
    first, second = written(tmp_path / "1.tar", bytes(data)), written(tmp_path / "2.tar", tar_of({"d.png": PNG}))
    rows = rows_of(Tars(Files((first, second)), Records()))
    assert [row.key for row in rows] == ["1.tar:a", "1.tar:b", "2.tar:d"]
    assert "the tar is damaged: no header of a tar at byte 2048" in error_of(rows[1])[1]


def test_a_tar_that_is_cut_off_says_where(tmp_path: Path) -> None:
    data = tar_of({"a.png": PNG, "b.png": PNG})
    whole = -(-len(PNG) // 512) * 512 + 512
    rows = rows_of(tars(tmp_path, data[: whole + 512 + len(PNG) - 1]))
    assert [row.error is None for row in rows] == [True, False]
    assert f"the member at byte {whole} is cut off: it would end" in error_of(rows[1])[1]


def test_what_is_no_tar_is_one_error(tmp_path: Path) -> None:
    (row,) = rows_of(tars(tmp_path, b"\x1f\x8b" + bytes(1000)))
    assert "a packed tar is not read" in error_of(row)[1]
    assert rows_of(tars(tmp_path, b"")) == []
