"""What the command line names as a source."""

import io
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet as pq

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.jobs.rows import Failed, FilePicture
from blip_serve.jobs.sources.files import size_of
from blip_serve.jobs.sources.folder import Folder
from blip_serve.jobs.sources.lines import Lines
from blip_serve.jobs.sources.opening import SourceOptions, open_source
from blip_serve.jobs.sources.parquet import Parquet
from blip_serve.jobs.sources.records import Columns
from blip_serve.jobs.sources.table import Table
from blip_serve.jobs.sources.tars import Tars
from tests.jobs.sources.reading import rows_of, written
from tests.jobs.sources.tarring import tar_of
from tests.jobs.test_pictures import load
from tests.support.pictures import encoded, picture

PNG = encoded(picture(1))
OPTIONS = SourceOptions()
LINE = b'{"image": "a.png", "id": 1}\n'


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x.jsonl", Lines), ("x.NDJSON", Lines), ("x.csv", Table), ("x.tsv", Table), ("x.parquet", Parquet),
     ("x.tar", Tars), ("x.png", Folder), ("noname", Folder)],
)  # fmt: skip
def test_the_kind_is_told_by_the_name_or_the_content(tmp_path: Path, name: str, kind: type) -> None:
    path = written(tmp_path / name, PNG)
    source = open_source([path], OPTIONS)
    assert type(source) is kind
    assert not isinstance(source, Table) or source.delimiter == ("\t" if name == "x.tsv" else ",")


def test_a_folder_is_pictures_or_the_files_of_the_kind_that_is_named(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "x.png"):
        written(tmp_path / name, PNG if name == "x.png" else LINE)
    assert [row.key for row in rows_of(open_source([str(tmp_path)], OPTIONS))] == ["x.png"]
    rows = rows_of(open_source([str(tmp_path)], SourceOptions(kind="jsonl")))
    assert [row.key for row in rows] == ["a.jsonl:1", "b.jsonl:1"]


def test_patterns_are_expanded_and_nothing_is_read_twice(tmp_path: Path) -> None:
    (tmp_path / "in [x]").mkdir()
    for name in ("2.png", "1.png"):
        written(tmp_path / "in [x]" / name, PNG)
    folder = str(tmp_path / "in [x]")
    given = [folder, f"{folder}/1.png", folder]
    assert [row.key for row in rows_of(open_source(given, OPTIONS))] == ["1.png", "2.png"]
    assert [row.key for row in rows_of(open_source([f"{tmp_path}/in*/*.png"], OPTIONS))] == ["1.png", "2.png"]


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        (["photos", "./photos/"], ["1.png"]),
        (["photos/1.png", "./photos/1.png"], ["1.png"]),
        (["x.jsonl", "./x.jsonl"], ["x.jsonl:1"]),
    ],
)
def test_what_is_named_in_two_ways_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], keys: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    written(tmp_path / "photos" / "1.png", PNG)
    written(tmp_path / "x.jsonl", LINE)
    assert [row.key for row in rows_of(open_source(given, OPTIONS))] == keys


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (["missing.jsonl"], OPTIONS, "there is no such file"),
        (["*.nothing"], OPTIONS, "there is no such file"),
        (["x.jsonl", "x.csv"], OPTIONS, "of one kind"),
        (["x.jsonl.gz"], OPTIONS, "unpack it first"),
        (["x.unknown"], OPTIONS, "--format names one of"),
        (["http://example.com/x.jsonl"], OPTIONS, "a URL of one of file, s3, gs, az"),
        (["ftp://example.com/x.jsonl"], OPTIONS, "a URL of one of"),
        (["memory://x.jsonl"], OPTIONS, "a URL of one of"),
        (["filecache::s3://bucket/x.jsonl"], OPTIONS, "a URL of one of"),
        (["s3://bucket/x.jsonl"], OPTIONS, "s3 needs the package s3fs: pip install s3fs"),
        (["az://bucket/x.jsonl"], OPTIONS, "az needs the package adlfs"),
        (["x.jsonl"], SourceOptions(root="nowhere"), "--root nowhere: there is no such folder"),
        (["x.jsonl"], SourceOptions(root="http://example.com"), "a URL of one of"),
        (["-", "x.jsonl"], OPTIONS, "is the only source"),
        (["-"], OPTIONS, "no folder to keep"),
        (["/dev/null"], OPTIONS, "no regular file"),
        (["x.jsonl"], SourceOptions(Columns(picture="pic")), "pic: the first rows have no such column"),
        (["x.jsonl"], SourceOptions(Columns(key="name")), "name: the first rows have no such column"),
    ],
)
def test_what_cannot_be_a_source_is_refused(
    tmp_path: Path, given: list[str], options: SourceOptions, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.jsonl", "x.csv", "x.jsonl.gz", "x.unknown"):
        written(tmp_path / name, LINE)
    with pytest.raises(ConfigurationError, match=message):
        open_source(given, options)


def test_columns_that_are_named_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", LINE)
    (row,) = rows_of(open_source([f"file://{path}"], SourceOptions(Columns(picture="image", key="id"))))
    assert (row.key, row.picture) == ("1", FilePicture(str(tmp_path / "a.png")))


def test_without_pyarrow_parquet_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("no", name="pyarrow")

    monkeypatch.setattr("blip_serve.jobs.sources.opening.import_module", missing)
    with pytest.raises(
        ConfigurationError, match=r"parquet: needs the package pyarrow: pip install 'blip-serve\[bulk\]'"
    ):
        open_source([written(tmp_path / "x.parquet", b"")], OPTIONS)


class Bucket(MemoryFileSystem):  # type: ignore[misc]
    """A bucket in memory."""

    store: dict[str, object] = {}  # noqa: RUF012  # that of the parent is the process's
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("s3://")))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    """What stands in the place of S3."""
    found = Bucket()
    monkeypatch.setattr(fsspec, "filesystem", lambda scheme: {"s3": found}[scheme])
    return found


def test_a_source_at_a_url_is_read_there(bucket: MemoryFileSystem) -> None:
    bucket.pipe({"/b/data/2.jsonl": LINE, "/b/data/1.jsonl": LINE * 2, "/b/pics/x.png": PNG, "/b/pics/n.txt": b"x"})
    source = open_source(["s3://b/data/*.jsonl"], OPTIONS)
    rows = rows_of(source)
    assert [row.key for row in rows] == ["1.jsonl:1", "1.jsonl:2", "2.jsonl:1"]
    assert rows[0].picture == FilePicture("s3://b/data/a.png")
    assert all("bytes" in state for state in source.identity().values())
    rows = rows_of(open_source(["s3://b/pics"], OPTIONS))
    assert [(row.key, row.picture) for row in rows] == [("x.png", FilePicture("s3://b/pics/x.png"))]
    assert size_of("s3://b/pics/x.png") == len(PNG)


def test_an_error_of_a_storage_is_an_os_error(bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(url: str, mode: str) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(bucket, "open", broken)
    with pytest.raises(OSError, match="RuntimeError: no credentials"):
        list(open_source(["s3://b/x.jsonl"], OPTIONS).cuts(1))


class Failing(io.BytesIO):
    """A file of a bucket that fails in its midst."""

    def read(self, size: int | None = -1) -> bytes:
        """Fails there."""
        if 1000 <= self.tell() < 12_000:
            raise RuntimeError("SlowDown")
        return super().read(size)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tar", "x.parquet"])
def test_a_storage_that_fails_while_it_is_read_gives_rows_that_may_pass(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    table = pa.table({"n": list(range(2000))})
    pq.write_table(table, tmp_path / "x.parquet", compression="none", use_dictionary=False)
    tar = tar_of({f"{n}.png": PNG for n in range(20)})
    data = {"x.jsonl": LINE * 2000, "x.csv": b"aaaaaaaaa\n" * 2000, "x.tar": tar}.get(name)
    bucket.pipe({f"/b/{name}": data or (tmp_path / name).read_bytes()})
    source = open_source([f"s3://b/{name}"], OPTIONS)
    cuts = list(source.cuts(3000))
    monkeypatch.setattr(bucket, "open", lambda url, mode: Failing(bucket.cat(url)))
    last = [list(source.rows(cut))[-1] for cut in cuts][-1]
    assert last.error is not None
    assert "RuntimeError: SlowDown" in last.error.message
    assert Failed(last.error).may_pass


def test_a_picture_whose_storage_fails_may_pass(bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.pipe({"/b/x.png": bytes(2000)})
    with pytest.raises(InvalidInput) as caught:
        load(FilePicture("s3://b/gone.png"), 5000)
    assert (caught.value.code, Failed(caught.value).may_pass) == ("file_not_readable", False)
    monkeypatch.setattr(bucket, "open", lambda url, mode: Failing(bytes(2000)))
    with pytest.raises(InvalidInput) as caught:
        load(FilePicture("s3://b/x.png"), 5000)
    assert (caught.value.code, Failed(caught.value).may_pass) == ("storage_failed", True)


def test_standard_input_is_kept_and_must_come_again_as_it_was(tmp_path: Path) -> None:
    options = SourceOptions(state=tmp_path / "state", root=str(tmp_path), max_input_bytes=100)
    source = open_source(["-"], options, io.BytesIO(LINE * 2))
    assert [row.key for row in rows_of(source)] == ["stdin.jsonl:1", "stdin.jsonl:2"]
    assert rows_of(source)[0].picture == FilePicture(str(tmp_path / "a.png"))
    identity = source.identity()
    for again in (LINE * 2, b""):
        assert open_source(["-"], options, io.BytesIO(again)).identity() == identity
    for other in (LINE, LINE * 3, LINE + b"x" * len(LINE)):
        with pytest.raises(ConfigurationError, match="something else than at the first run"):
            open_source(["-"], options, io.BytesIO(other))


def test_standard_input_over_the_bound_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="more than 20 bytes"):
        open_source(["-"], SourceOptions(state=tmp_path, max_input_bytes=20), io.BytesIO(LINE))
    assert list(tmp_path.iterdir()) == []
