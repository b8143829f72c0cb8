"""The manifest: what is recorded is kept, compared and counted."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.manifest import Manifest, Segment, copy_manifest, has_begun
from blip_serve.jobs.rows import Cut
from blip_serve.jobs.tally import Tally


def cut(index: int, count: int = 10) -> Cut:
    return Cut(index, index * 10, count, None)


def test_segments_are_there_after_the_manifest_is_opened_again(tmp_path: Path) -> None:
    with Manifest(tmp_path / "state") as manifest:
        manifest.commit(Segment(1, 0, 10, Tally(kept=10)))
        manifest.commit(Segment(0, 0, 10, Tally(kept=9, existing=1)))
    with Manifest(tmp_path / "state") as manifest:
        assert list(manifest.parts()) == ["000000", "000001"]
        assert [manifest.rows_of(cut(index)) for index in range(3)] == [10, 10, 0]
        assert (manifest.rows(), manifest.tally()) == (20, Tally(kept=19, existing=1))


def test_other_options_are_refused_with_each_difference(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.agree({"beams": 1, "model": "a"})
        manifest.agree({"model": "a", "beams": 1})
        with pytest.raises(ConfigurationError, match=r"\(beams was 1, is 3; n was absent, is 2\)"):
            manifest.agree({"beams": 3, "model": "a", "n": 2})


def test_of_a_source_that_differs_the_first_files_are_named(tmp_path: Path) -> None:
    def source(mark: str, count: int) -> dict[str, dict[str, str]]:
        return {"source": {"same": "1 byte", **{f"{number}.jsonl": f"{mark} bytes" for number in range(count)}}}

    with Manifest(tmp_path) as manifest:
        manifest.agree(source("2", 1000))
        with pytest.raises(ConfigurationError, match=r"\(source differs in 0.jsonl, 1.jsonl, 10.jsonl and 997 more\)"):
            manifest.agree(source("3", 1000))
        with pytest.raises(ConfigurationError, match=r"delete .*, the results and the rejects") as found:
            manifest.agree({**source("2", 999), "root": "x" * 10_000})
        assert "(source differs in 999.jsonl; root was absent, is " in str(found.value)
        assert len(str(found.value)) < 500 + len(str(tmp_path))


def test_a_run_that_begins_anew_forgets_what_was_done(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.agree({"beams": 1})
        manifest.commit(Segment(0, 0, 10, Tally(), ((3, "overloaded"),)))
        manifest.finish()
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts" / "000000.jsonl").touch()
        manifest.agree({"beams": 3}, begin_anew=True)
        assert (manifest.rows(), manifest.passing(), manifest.finished) == (0, 0, False)
        assert not (tmp_path / "parts").exists()
        manifest.agree({"beams": 3})


def test_rows_that_may_pass_are_kept_until_they_are_taken_up_again(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.commit(Segment(0, 0, 10, Tally(), ((3, "overloaded"), (4, "overloaded"))))
        assert manifest.passing_of(cut(0)) == {3: "overloaded", 4: "overloaded"}
        assert manifest.next_attempt(cut(0)) == 1
        manifest.commit(Segment(0, 1, 0, Tally(), ((4, "loading"),), (3, 4)))
        assert (manifest.passing_of(cut(0)), manifest.passing()) == ({4: "loading"}, 1)
        assert list(manifest.parts()) == ["000000", "000000-1"]
        assert (manifest.rows_of(cut(0)), manifest.next_attempt(cut(0))) == (10, 2)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with (
        Manifest(tmp_path),
        pytest.raises(ConfigurationError, match="another run is writing there"),
        Manifest(tmp_path),
    ):
        pass


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match=r"manifest.db: not readable"), Manifest(tmp_path):
        pass
    with pytest.raises(sqlite3.DatabaseError), closing(sqlite3.connect(tmp_path / "manifest.db")) as database:
        database.execute("SELECT 1 FROM option")


def test_a_copy_is_made_while_a_run_is_writing(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy_manifest(tmp_path / "state", tmp_path / "copy")
    with Manifest(tmp_path / "state") as manifest:
        manifest.agree({"beams": 1})
        manifest.commit(Segment(0, 0, 10, Tally()))
        copy_manifest(tmp_path / "state", tmp_path / "copy")
    with Manifest(tmp_path / "copy") as copy:
        assert copy.rows() == 10
        with pytest.raises(ConfigurationError, match="beams was 1, is 2"):
            copy.agree({"beams": 2})


def test_a_run_has_begun_when_its_options_are_kept(tmp_path: Path) -> None:
    assert not has_begun(tmp_path)
    with Manifest(tmp_path) as manifest:
        assert not has_begun(tmp_path)
        manifest.agree({"beams": 1})
        assert has_begun(tmp_path)
    (tmp_path / "manifest.db").write_bytes(b"no database" * 1000)
    assert has_begun(tmp_path)


def test_a_manifest_that_cannot_be_read_any_more_is_named(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        with closing(sqlite3.connect(tmp_path / "manifest.db")) as database:
            for table in ("option", "segment", "passing"):
                database.execute(f"DROP TABLE {table}")
        reads: list[Callable[[], object]] = [
            manifest.rows,
            manifest.passing,
            manifest.tally,
            lambda: manifest.agree({}),
            lambda: list(manifest.parts()),
            lambda: manifest.passing_of(cut(0)),
        ]
        for read in reads:
            with pytest.raises(OSError, match="no such table") as found:
                read()
            assert found.value.filename == str(tmp_path / "manifest.db")
