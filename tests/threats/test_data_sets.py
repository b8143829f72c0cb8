"""Data sets of bulk runs that are made to harm (rows 92 to 94)."""

import asyncio
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.rows import Row
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.lines import Lines
from blip_serve.jobs.sources.opening import SourceOptions, open_source
from blip_serve.jobs.sources.parquet import Parquet
from blip_serve.jobs.sources.records import Records
from blip_serve.jobs.sources.source import Source
from blip_serve.jobs.sources.tars import Tars
from blip_serve.settings import ImageSettings
from tests.support.memory import memory_within
from tests.support.pictures import encoded, picture

MB = 1024 * 1024
PNG = encoded(picture(1))


def rows_of(source: Source) -> Iterator[Row]:
    """All rows, one at a time."""
    return (row for cut in source.cuts(256) for row in source.rows(cut))


def code_of(row: Row) -> str | None:
    """The code of the row's error, or of its picture's when it is loaded."""
    if row.error:
        return row.error.code
    try:
        asyncio.run(_load(row))
    except InvalidInput as error:
        return error.code
    return None


async def _load(row: Row) -> None:
    assert row.picture is not None
    async with open_pictures(ImageSettings()) as pictures:
        await pictures.load(row.picture)


def tar_of(*members: tuple[str, bytes, bytes, str]) -> bytes:
    """A tar of members: name, type, data, target of the link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, data, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), target
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def tars(path: Path, data: bytes) -> Tars:
    path.write_bytes(data)
    return Tars(Files((str(path),)), Records())


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        pytest.param("a.png", tarfile.SYMTYPE, "/etc/passwd", id="row92-symbolic link"),
        pytest.param("a.png", tarfile.LNKTYPE, "/etc/passwd", id="row92-hard link"),
        pytest.param("a.png", tarfile.CHRTYPE, "", id="row92-device"),
        pytest.param("a.png", tarfile.FIFOTYPE, "", id="row92-pipe"),
        pytest.param("/etc/a.png", tarfile.REGTYPE, "", id="row92-absolute name"),
        pytest.param("../../a.png", tarfile.REGTYPE, "", id="row92-name that leads up"),
        pytest.param("a/../../b/a.png", tarfile.REGTYPE, "", id="row92-name that leads up inside"),
    ],
)
def test_only_regular_members_are_read(tmp_path: Path, name: str, kind: bytes, target: str) -> None:
    data = PNG if kind == tarfile.REGTYPE else b""
    good = ("good.png", tarfile.REGTYPE, PNG, "")
    bad, after = rows_of(tars(tmp_path / "x.tar", tar_of((name, kind, data, target), good)))
    assert code_of(bad) == "invalid_tar"
    assert bad.picture is None
    assert not bad.key.partition(":")[2].startswith(("/", "."))
    assert ".." not in bad.key
    assert code_of(after) is None
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_row92_a_header_of_gigabytes_is_not_read(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 4 * 1024 * MB
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(5 * 1024 * MB)  # a hole
    with memory_within(50 * MB):
        (row,) = rows_of(Tars(Files((str(path),)), Records()))
    assert code_of(row) == "invalid_tar"
    assert "byte 0" in str(row.error)


def test_row92_a_hundred_thousand_headers_before_a_member_are_not_followed(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 0
    (row,) = rows_of(tars(tmp_path / "x.tar", info.tobuf() * 100_000))
    assert code_of(row) == "invalid_tar"


def test_row92_many_members_are_not_held(tmp_path: Path) -> None:
    heads = tar_of(*((f"{n}.png", tarfile.REGTYPE, b"", "") for n in range(1000)))[: 1000 * 512]
    source = tars(tmp_path / "x.tar", heads * 50)
    with memory_within(20 * MB):
        assert source.count() == 50_000


def test_row92_nothing_is_unpickled(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pickled = b"cos\nsystem\n(S'touch " + os.fsencode(ran) + b"'\ntR."
    members = [(f"a.{ending}", tarfile.REGTYPE, pickled, "") for ending in ("pyd", "pickle", "pth", "npy", "ten")]
    (row,) = rows_of(tars(tmp_path / "x.tar", tar_of(*members)))
    assert (row.picture, dict(row.fields)) == (None, {})
    assert not ran.exists()


def test_row93_gigabytes_from_kilobytes_are_not_held(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1024, pa.int32()), pa.array(["x" * 4 * MB]))
    pq.write_table(pa.table({"text": column}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    del column
    with memory_within(400 * MB):
        assert sum(len(row.fields["text"]) for row in rows_of(Parquet(Files((str(path),)), Records()))) == 4096 * MB


def test_row93_a_line_of_a_gigabyte_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": "')
        file.seek(1024 * MB)  # a hole
        file.write(b'"}\n{"n": 2}\n')
    with memory_within(100 * MB):
        bad, after = rows_of(Lines(Files((str(path),)), Records()))
    assert code_of(bad) == "row_too_large"
    assert "x.jsonl:1: " in str(bad.error)
    assert after.fields == {"n": 2}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param("/etc/passwd", "path_not_allowed", id="row94-absolute path"),
        pytest.param("../outside.png", "path_not_allowed", id="row94-path that leads up"),
        pytest.param("link.png", "path_not_allowed", id="row94-link that leads out"),
        pytest.param("s3://bucket/a.png", "unsupported_url_scheme", id="row94-s3"),
        pytest.param("file:///etc/passwd", "unsupported_url_scheme", id="row94-file"),
        pytest.param("filecache::s3://bucket/a.png", "unsupported_url_scheme", id="row94-chain"),
        pytest.param("http://169.254.169.254/latest/meta-data/", "blocked_url", id="row94-AWS metadata"),
        pytest.param("http://127.0.0.1/", "blocked_url", id="row94-loopback"),
        pytest.param("http://2130706433/", "blocked_url", id="row94-loopback in disguise"),
    ],
)
def test_a_column_reaches_nothing_else(tmp_path: Path, value: str, code: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.png").write_bytes(PNG)
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    (root / "good.png").write_bytes(PNG)
    (root / "x.jsonl").write_text("\n".join(json.dumps({"image": each}) for each in (value, "good.png")))
    bad, after = rows_of(open_source([str(root / "x.jsonl")], SourceOptions()))
    assert (code_of(bad), code_of(after)) == (code, None)


@pytest.mark.parametrize("given", ["http://example.com/x.jsonl", "memory://x.jsonl", "filecache::s3://bucket/x.jsonl"])
def test_row94_other_schemes_are_refused_on_the_command_line(given: str) -> None:
    with pytest.raises(ConfigurationError, match="a URL of one of file, s3, gs, az"):
        open_source([given], SourceOptions())
