"""The measurement of how runs grow, on a few rows."""

from pathlib import Path

import pytest

from bulk import size


@pytest.mark.full
def test_a_run_with_most_rows_done_is_planned_and_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert size.resumed(tmp_path, 1000)
    assert capsys.readouterr().out.startswith("990 rows of 1,000: ")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 500


def test_a_folder_of_many_names_of_a_few_pictures(tmp_path: Path) -> None:
    assert len(list(size._photos(tmp_path, 20).rglob("*.png"))) == 20
