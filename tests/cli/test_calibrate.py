"""`blip-serve calibrate` from labelled pairs to a file, and `bulk filter --precision` by that file."""

import json
from pathlib import Path
from typing import Any

import pytest

from blip_serve.calibration import Calibration, Identity, read_calibration
from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_precision import AtPrecision, filter_at
from blip_serve.cli.calibrate import CHART, calibrate
from blip_serve.cli.calibrate_report import print_calibrated
from blip_serve.cli.charts import drawing
from blip_serve.errors import ConfigurationError
from blip_serve.findings import Findings
from blip_serve.jobs.calibrating.calibrate import Calibrated, fitted
from blip_serve.jobs.operators.filter import FilterOperator
from blip_serve.jobs.operators.serving import Serving
from blip_serve.settings import ModelSettings, Settings
from calibrate.__main__ import write_pairs
from tests.support.calibrating import DEMO, calibration, demo_identity, drawn
from tests.support.command import blip_serve
from tests.support.server import settings

COLUMNS = ("--image", "image", "--caption", "caption", "--label", "label")
HERE = Identity("sha256:0", "float32")


@pytest.fixture(scope="module")
def found() -> Calibrated:
    return fitted(*drawn(2000, seed=0), DEMO, "hf", HERE)


def test_labelled_pairs_become_a_calibration_that_the_next_run_makes_without_scoring_again(tmp_path: Path) -> None:
    source, to, data = write_pairs(160, 0, tmp_path), tmp_path / "new" / "calibration.json", tmp_path / "data"
    with source.open("a") as lines:
        lines.write(json.dumps({"image": "pair-000000.png", "caption": "a circle", "label": "perhaps"}) + "\n")
    environment = {"BLIP_SERVE_DTYPE": "float32", "BLIP_SERVE_DATA_DIR": str(data), "COLUMNS": "80"}
    command = ("calibrate", str(source), *COLUMNS, "--to", str(to))
    first = blip_serve(*command, **environment)
    assert first.returncode == 1, first.stderr  # a row failed
    assert "pairs.jsonl:161: The column 'label' holds 'perhaps' here" in first.stderr
    made = read_calibration(to)
    assert Identity(made.digest, made.dtype) == demo_identity()
    assert made.fitted.true + made.fitted.false + made.tested.true + made.tested.false == 160
    assert 0.55 < made.prior < 0.75
    [finding] = Findings(data).of(DEMO)
    assert (finding.kind, finding.figures["ECE raw"]) == ("calibration", round(made.ece.raw, 4))
    assert f"ECE raw: {made.ece.raw:.4f}".rstrip("0") in first.stdout

    again = blip_serve(*command, "--prior", "0.2", "--json", **environment)
    assert "161 done before" in again.stderr
    assert Calibration.model_validate_json(again.stdout) == read_calibration(to)
    assert read_calibration(to).prior == 0.2
    assert read_calibration(to).bias < made.bias


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"prior": 1.5}, "--prior 1.5: it is a share, between 0 and 1"),
        ({"precision": 95.0}, "--precision 95: it is a share, between 0 and 1"),
        ({"chart": Path("x.jpg")}, "--chart x.jpg: the name of a chart ends in .png"),
        ({"to": Path(__file__)}, f"--to {__file__}: it is there already, and is no calibration"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_scored(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        calibrate(["pairs.jsonl"], "caption", "label", **options)


def test_the_terminal_shows_the_diagram_in_80_columns(
    found: Calibrated, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_calibrated(found, Path("calibration.json"), 0.9)
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    assert any(line.startswith("│ 0.47-0.53") and "|" in line and "#" in line for line in shown)
    at = found.calibration.threshold_for(0.9)
    assert at is not None
    assert any(line.startswith(f"For a precision of at least 0.9 keep ITM probabilities of at least {at.itm_score:.6g}")
               for line in shown)  # fmt: skip
    print_calibrated(found, Path("calibration.json"), 0.99999)
    assert "No threshold is sure to reach a precision of 0.99999" in capsys.readouterr().out


def test_the_chart_is_a_png(found: Calibrated, tmp_path: Path) -> None:
    file = tmp_path / "chart.png"
    drawing(CHART, file).draw(found, file)
    assert file.read_bytes().startswith(b"\x89PNG\r\n")


def chosen(
    precision: float = 0.9, file: Path | None = None, text: str | None = "alt", by: str = "itm_score",
    used: Settings | None = None, **options: Any,
) -> FilterOperator:  # fmt: skip
    wanted = AtPrecision(by, precision, file, text, Serving(None, options.get("protocol")))
    return filter_at(wanted, BulkOptions(sources=["pairs.jsonl"], **options), used or settings())


def test_filter_picks_the_threshold_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "calibration.json"
    calibration(demo_identity()).write(file)
    assert chosen(file=file) == FilterOperator("itm_score", 0.5, "alt", Serving(None, None))
    assert capsys.readouterr().err == (
        "blip-serve: filter keeps itm_score of at least 0.5: precision 0.930 (0.910 to 0.950), recall 0.800, where "
        f"30.0% of pairs are true ({file})\n"
    )
    named = settings(models=(ModelSettings(id=DEMO, calibration=(file,)),))
    assert chosen(used=named).at_least == 0.5
    assert chosen(file=file, text=None, by="web_itm_score").by == "web_itm_score"


def test_filter_refuses_what_the_calibration_does_not_say(tmp_path: Path) -> None:
    other, mine = tmp_path / "other.json", tmp_path / "mine.json"
    calibration(HERE).write(other)
    calibration(demo_identity()).write(mine)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"file": other}, f"^{other}: this calibration was made for the checkpoint sha256:0"),
        ({"file": mine, "precision": 0.99}, rf"{mine} has no threshold .*; the best is 0.9: precision 0.970 \(0.950"),
        ({"file": mine, "protocol": "paper"}, "no calibration for the protocol paper"),
        ({"file": mine, "precision": 95.0}, "--precision 95: it is a share"),
        ({"file": mine, "url": "http://localhost:1"}, "what model a server runs is not known here"),
        ({"file": mine, "by": "cosine_score"}, "--precision goes by itm_score, not by cosine_score"),
        ({}, f"give --calibration, or name one in the settings of {DEMO}"),
    ]
    for given, fault in refused:
        with pytest.raises(ConfigurationError, match=fault):
            chosen(**given)
