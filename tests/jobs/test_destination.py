"""The destination that a user names: its kind, its files, and what is refused."""

from pathlib import Path

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.destination import destination
from blip_serve.jobs.manifest import Manifest
from blip_serve.jobs.plan import WHOLE, Shard


@pytest.mark.parametrize(
    ("named", "kind", "is_kind", "state", "rejects"),
    [
        ("a/out.jsonl", None, "jsonl", "a/out.jsonl.bulk", "a/out.jsonl.rejects.jsonl"),
        ("a/out.parquet", None, "parquet", "a/out.parquet.bulk", "a/out.parquet.rejects.jsonl"),
        ("a/table", "parquet", "parquet", "a/table/.bulk", "a/table.rejects.jsonl"),
        ("a/tars", "webdataset", "webdataset", "a/tars/.bulk", "a/tars.rejects.jsonl"),
        ("a/photos", "sidecar", "sidecar", "a/photos/.bulk", "a/photos.rejects.jsonl"),
        ("a/set", "imagefolder", "imagefolder", "a/set/.bulk", "a/set.rejects.jsonl"),
        ("a/set/metadata.jsonl", None, "imagefolder", "a/set/.bulk-metadata", "a/set.rejects.jsonl"),
    ],
)
def test_kind_state_and_rejects_follow_from_the_name(
    named: str, kind: str | None, is_kind: str, state: str, rejects: str
) -> None:
    found = destination(named, kind)
    assert (found.kind, found.state, found.rejects) == (is_kind, Path(state).absolute(), Path(rejects).absolute())


@pytest.mark.parametrize(
    ("named", "kind", "state", "rejects"),
    [
        (".", "sidecar", "photos/.bulk", "photos.rejects.jsonl"),
        ("deep/..", "sidecar", "photos/.bulk", "photos.rejects.jsonl"),
        ("..", "webdataset", ".bulk", "../ROOT.rejects.jsonl"),
        ("metadata.jsonl", None, "photos/.bulk-metadata", "photos.rejects.jsonl"),
    ],
)
def test_the_folder_that_one_is_in_is_a_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, kind: str | None, state: str, rejects: str
) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos")
    found = destination(named, kind)
    assert found.state == tmp_path / state
    assert found.rejects == (tmp_path / rejects.replace("ROOT", tmp_path.name)).resolve()


def test_shards_share_a_folder_and_have_files_and_states_of_their_own() -> None:
    shard = Shard(1, 8)
    assert destination("a/out.jsonl", shard=shard).path == Path("a/out-00002-of-00008.jsonl").absolute()
    assert (
        destination("a/out.jsonl", shard=shard).rejects == Path("a/out-00002-of-00008.jsonl.rejects.jsonl").absolute()
    )
    folder = destination("a/tars", "webdataset", shard)
    assert folder.rejects == Path("a/tars-00002-of-00008.rejects.jsonl").absolute()
    assert (folder.path, folder.state) == (Path("a/tars").absolute(), Path("a/tars/.bulk-00002-of-00008").absolute())


@pytest.mark.parametrize(
    ("named", "kind", "message"),
    [
        ("s3://bucket/out.jsonl", None, "no URL or pipe"),
        ("-", None, "no URL or pipe"),
        ("/", "sidecar", "a file or a folder below it"),
        ("out.txt", None, "its name does not tell what to write"),
        ("out", "excel", "no kind of results"),
        ("out.jsonl", "webdataset", r"ends in .jsonl, but webdataset was asked for"),
    ],
)
def test_what_is_no_destination_is_refused(named: str, kind: str | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        destination(named, kind)


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="this is a folder"):
        destination(str(tmp_path / "d.jsonl"))
    with pytest.raises(ConfigurationError, match="this is a file"):
        destination(str(tmp_path / "file"), "webdataset")


def test_shards_cannot_share_a_metadata_file() -> None:
    with pytest.raises(ConfigurationError, match="shards cannot share"):
        destination("set", "imagefolder", Shard(0, 2))


@pytest.mark.parametrize(("name", "kind"), [("out.jsonl", None), ("tars", "webdataset")])
def test_results_that_no_bulk_run_wrote_are_left_alone(tmp_path: Path, name: str, kind: str | None) -> None:
    to = destination(str(tmp_path / name), kind)
    to.check()
    if kind:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".hidden").touch()
        to.check()
        (tmp_path / name / "mine").touch()
    else:
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match="no bulk run wrote it"):
        to.check()
    with Manifest(to.state) as manifest:
        with pytest.raises(ConfigurationError, match="no bulk run wrote it"):
            to.check()
        manifest.agree({})
        to.check()


def test_a_shard_s_folder_may_hold_what_other_shards_wrote(tmp_path: Path) -> None:
    first, second = (destination(str(tmp_path / "tars"), "webdataset", Shard(index, 2)) for index in range(2))
    first.check()
    with Manifest(first.state) as manifest:
        (tmp_path / "tars" / "000000.tar").touch()
        with pytest.raises(ConfigurationError, match="no bulk run wrote it"):
            second.check()
        manifest.agree({})
        second.check()
    for shard in (WHOLE, Shard(0, 3)):
        with pytest.raises(ConfigurationError, match="no bulk run wrote it"):
            destination(str(tmp_path / "tars"), "webdataset", shard).check()


def test_sidecars_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    destination(str(tmp_path), "sidecar").check()
