"""Which sink a destination gets, and what a user is told who names a wrong one."""

import subprocess
import sys
from pathlib import Path

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.destination import destination
from blip_serve.jobs.rows import Row
from blip_serve.jobs.sinks import SinkOptions, make_sink
from tests.jobs.sinks.drawn import drawn


@pytest.mark.parametrize(
    ("named", "asked", "kind", "single", "state"),
    [
        ("out.jsonl", None, "jsonl", True, "out.jsonl.bulk"),
        ("d/lines", "jsonl", "jsonl", True, "d/lines.bulk"),
        ("out.parquet", None, "parquet", True, "out.parquet.bulk"),
        ("set/", "parquet", "parquet", False, "set/.bulk"),
        ("tars", "webdataset", "webdataset", False, "tars/.bulk"),
        ("photos", "sidecar", "sidecar", False, "photos/.bulk"),
        ("photos/metadata.jsonl", None, "imagefolder", True, "photos/.bulk-metadata"),
        ("photos/metadata.jsonl", "imagefolder", "imagefolder", True, "photos/.bulk-metadata"),
        ("set", "imagefolder", "imagefolder", False, "set/.bulk"),
    ],
)
def test_the_name_or_the_user_tells_the_kind(
    named: str, asked: str | None, kind: str, single: bool, state: str
) -> None:
    found = destination(named, asked)
    assert (found.kind, found.single, found.state) == (kind, single, Path(state).absolute())


@pytest.mark.parametrize(
    ("named", "asked", "said"),
    [
        ("s3://bucket/out.jsonl", None, "local"),
        ("-", None, "local"),
        ("", "jsonl", "local"),
        ("out.csv", None, r"\.parquet"),
        ("out", None, "sidecar"),
        ("out.jsonl", "csv", "no kind"),
        ("out.jsonl", "webdataset", r"\.jsonl"),
        ("out.jsonl", "parquet", r"\.jsonl"),
        ("out.jsonl/", None, "folder"),
        ("{folder}", "jsonl", "folder"),
        ("{folder}/file", "sidecar", "file"),
    ],
)
def test_a_wrong_destination_is_refused_with_the_remedy(
    tmp_path: Path, named: str, asked: str | None, said: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=said):
        destination(named.format(folder=tmp_path), asked)


@pytest.mark.parametrize(
    ("named", "kind", "needs"),
    [
        ("out.jsonl", None, False),
        ("out.parquet", None, False),
        ("tars", "webdataset", True),
        ("set", "parquet", False),
        ("photos", "sidecar", False),
        ("photos/metadata.jsonl", None, False),
        ("copies", "imagefolder", True),
    ],
)
def test_each_sink_is_made_and_says_whether_it_needs_pictures(
    tmp_path: Path, named: str, kind: str | None, needs: bool
) -> None:
    sink = make_sink(destination(str(tmp_path / named), kind), SinkOptions({"caption": "string"}, text="caption"))
    assert sink.needs_picture is needs
    assert not sink.has(Row(0, "a.jpg", {}))
    assert list(tmp_path.iterdir()) == []


def test_parquet_holds_pictures_if_asked_and_others_cannot(tmp_path: Path) -> None:
    sink = make_sink(destination(str(tmp_path / "out.parquet")), SinkOptions(pictures=True))
    part = sink.part("000000")
    part.add(Row(0, "a", {}), drawn(), {})
    part.commit()
    sink.join(["000000"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.parquet.bulk"]
    with pytest.raises(ConfigurationError, match="Parquet"):
        make_sink(destination(str(tmp_path / "out.jsonl")), SinkOptions(pictures=True))


@pytest.mark.parametrize("extension", ["txt", ".jpg", ".PNG", ".jfif", "../.txt", ".a/b", "", "."])
def test_sidecars_never_have_a_pictures_name(tmp_path: Path, extension: str) -> None:
    with pytest.raises(ConfigurationError, match="extension"):
        make_sink(destination(str(tmp_path), "sidecar"), SinkOptions(text="caption", extension=extension))


def test_sidecars_need_an_operator_that_makes_a_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="text"):
        make_sink(destination(str(tmp_path), "sidecar"), SinkOptions())


def test_pyarrow_is_imported_for_parquet_only_and_its_lack_is_explained(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["pyarrow"] = None
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.sinks import SinkOptions, make_sink
from blip_serve.jobs.destination import destination
make_sink(destination("out.jsonl"), SinkOptions())
try:
    make_sink(destination("out.parquet"), SinkOptions())
except ConfigurationError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'blip-serve[bulk]' (pyarrow)" in ran.stdout
