"""Damaged and hostile files give rows and errors: no exception, no memory without bound, no file."""

import json
import random
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.lines import Lines
from blip_serve.jobs.sources.parquet import Parquet
from blip_serve.jobs.sources.records import Records
from blip_serve.jobs.sources.source import Source
from blip_serve.jobs.sources.table import Table
from blip_serve.jobs.sources.tars import Tars
from tests.jobs.sources.tarring import tar_of
from tests.support.memory import memory_within
from tests.support.pictures import encoded, picture

MB = 1024 * 1024
PNG = encoded(picture(1, 8, 6))
RECORDS = Records(max_row_bytes=10_000)
DEADLY = (809, 3215)
"""Seeds of Parquet files whose footers end the process, if pyarrow is asked for the metadata of their columns."""
READERS: Mapping[str, Callable[[Files, Records], Source]] = MappingProxyType(
    {"jsonl": Lines, "csv": Table, "parquet": Parquet, "tar": Tars}
)
TOKENS = (
    b"\0" * 8, b"\xff" * 8, b'"', b"\n", b"[" * 50, b"{", b",", b"\\ud800", b"../../", b"/etc/passwd", b"s3://x/y",
    b"NaN",    b"\x7f\xff\xff\xff", b"\x80\0\0\0\xff\xff\xff\xff", b"99999999999", b"PAR1", b"ustar",
    b"GNU.sparse.major=1\n", b"\x15\xfe\xff\xff\x0f",
)  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with a few changes."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, size = rng.randrange(len(found) + 1), rng.choice((1, 1, 4, 16, 200))
        piece = rng.choice((rng.randbytes(size), rng.choice(TOKENS), bytes(found[at : at + size])))
        match rng.randrange(5):
            case 0:
                found[at : at + len(piece)] = piece
            case 1:
                found[at:at] = piece
            case 2:
                del found[at : at + size]
            case 3 if rng.random() < 0.3:
                del found[at:]
            case _ if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
    return bytes(found)


def parquets(folder: Path) -> list[bytes]:
    """Small files of every kind of column, packed and not."""
    path = folder / "made.parquet"
    columns = {
        "image": [{"bytes": PNG, "path": "a.png"}, {"bytes": None, "path": "b.png"}] * 10,
        "text": ["a dog", None] * 10,
        "tags": [["a", "b"], []] * 10,
        "n": list(range(20)),
        "m": pa.array([[("k", 1)], None] * 10, pa.map_(pa.string(), pa.int64())),
    }
    found = []
    for codec, version, encoding in (
        ("none", "1.0", "PLAIN"),
        ("zstd", "2.0", "DELTA_BYTE_ARRAY"),
        ("snappy", "2.0", None),
    ):
        pq.write_table(
            pa.table(columns), path, compression=codec, data_page_version=version, row_group_size=8,
            use_dictionary=encoding is None, column_encoding=encoding and {"text": encoding},
        )  # fmt: skip
        found.append(path.read_bytes())
    path.unlink()
    return found


def good(folder: Path) -> dict[str, list[bytes]]:
    """Files to damage, by their format."""
    record = {"image": "a.png", "text": 'a "dog", é', "list": [1, {"x": None}], "n": 1.5}
    names = {
        "a/1.png": PNG,
        "a/1.txt": b"x",
        "a/1.json": json.dumps(record).encode(),
        "é" * 60 + ".png": PNG,
        "b.png": PNG,
    }
    return {
        "jsonl": [
            "".join(json.dumps(record, ensure_ascii=ascii) + "\n" for _ in range(5)).encode() for ascii in (True, False)
        ],
        "csv": [b'image,text\na.png,"x, y"\nb.png,"two\nlines"\nc.png,"q""q"\nd.png,\n'],
        "tar": [tar_of(names, form) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)],
        "parquet": parquets(folder),
    }


def read(source: Source) -> int:
    """Reads all of a source, and counts its rows. What comes out is what JSON can hold, or an error."""
    count = 0
    for cut in source.cuts(7):
        rows = list(source.rows(cut))
        assert [row.number for row in rows] == list(range(cut.start, cut.start + cut.count))
        for row in rows:
            json.dumps(dict(row.fields), allow_nan=False, ensure_ascii=False).encode()
            assert row.error is None or not (row.fields or row.picture)
        count += len(rows)
        if count > 10_000:  # a footer may say that there are billions
            break
    return count


def fuzz(tmp_path: Path, seeds: Iterable[int]) -> None:
    """Damages a file of each format for each seed, and reads it."""
    originals = good(tmp_path)
    for kind, reader in READERS.items():
        path = tmp_path / f"x.{kind}"
        for each in originals[kind]:
            path.write_bytes(each)
            source = reader(Files((str(path),)), RECORDS)
            assert [row.error for cut in source.cuts(7) for row in source.rows(cut)] == [None] * read(source)
        with memory_within(400 * MB):
            for seed in seeds:
                rng = random.Random(f"{kind} {seed}")
                path.write_bytes(mutated(rng.choice(originals[kind]), rng))
                read(reader(Files((str(path),)), RECORDS))
    assert {file.name for file in tmp_path.rglob("*")} == {f"x.{kind}" for kind in READERS}


def test_damaged_files_give_rows_and_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(tmp_path, [*range(500), *DEADLY])


@pytest.mark.full
@pytest.mark.timeout(900)
def test_very_many_damaged_files_give_rows_and_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(tmp_path, range(500, 10_000))
