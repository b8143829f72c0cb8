"""`scripts/gpu`: what it says where something is missing, and where it writes."""

import json
import sys
from pathlib import Path

import pytest
import torch

from gpu import __main__, needs
from gpu.report import TRIAL, Report
from gpu.rows import Row


def test_it_says_how_all_wheels_are_fetched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--wheels", "--python", "3.12"])
    assert __main__.main() == 0
    told = capsys.readouterr().out
    assert "--python-version 3.12" in told
    assert all(f" {name}==" in told for name in needs.MODULES.values())
    assert " torch==" not in told


def test_it_names_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name in ("yaml", "pydantic") else name)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert __main__.main() == 2
    told = capsys.readouterr().err
    assert "not installed here: pydantic, PyYAML" in told
    assert "pip download" in told
    assert "transformers" not in told


@pytest.mark.parametrize(("found", "refused"), [("2.10.1+cu130", True), ("2.11.0+cu130", False), ("3.0.0", False)])
def test_torch_may_be_older_than_pinned(found: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "version", lambda _: found)
    if refused:
        with pytest.raises(SystemExit, match=r"torch 2\.11 or newer"):
            needs.missing()
    else:
        assert needs.missing() == []


def test_a_run_without_a_card_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = Report.begin(tmp_path / "results", tmp_path / "trials")
    report.add(Row("encode images", "demo float32", 64, 500.0, 490.0, note="as it is"))
    assert not (tmp_path / "results").exists()
    page = (tmp_path / "trials" / "no-card.md").read_text()
    assert page.startswith(f"# {TRIAL}")
    assert "| demo float32 | encode images | 64 | 500.00 | 490.00 |  | 128 | as it is |" in page
    written = json.loads((tmp_path / "trials" / "no-card.json").read_text())
    assert written["on_card"] is False
    assert written["machine"]["gpu"] == "none"
    assert {"date", "torch"} <= written["machine"].keys()
    assert [Row(**row) for row in written["rows"]] == report.rows
