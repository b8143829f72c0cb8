"""The report of an evaluation as a chart and as a table, and what is said where a chart cannot be drawn."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from blip_serve.cli.charts import drawing
from blip_serve.cli.evaluate_report import print_report, write_json
from blip_serve.cli.evaluate_run import CHART
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.evaluation import Measured
from blip_serve.jobs.evaluation.published import COCO_RETRIEVAL
from blip_serve.jobs.evaluation.report import Report, Subject

FIGURES = {"TR@1": 81.25, "IR@1": 60.0, "mean": 70.625}
REPORT = Report(
    "retrieval",
    "[red]coco.json",
    Subject("a/model", "paper", "sha256:1", "float32", "a processor"),
    Measured(FIGURES, {"pictures": 5000, "texts": 25010}),
    COCO_RETRIEVAL,
    ("A note.",),
)


def test_the_table_has_the_figures_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT)
    shown = capsys.readouterr().out
    for part in ("[red]coco.json", "81.2", "82.4", "5,000 pictures, 25,010 texts", "A note.", "paper, float32"):
        assert part in shown
    assert "TR@5" not in shown


def test_a_chart_is_a_png(tmp_path: Path) -> None:
    drawing(CHART, tmp_path / "chart.png").draw(REPORT, tmp_path / "chart.png")
    with Image.open(BytesIO((tmp_path / "chart.png").read_bytes())) as image:
        assert image.format == "PNG"
        assert image.width == 1350


def test_json_has_all_and_a_finding_what_is_small(tmp_path: Path) -> None:
    write_json(REPORT, tmp_path / "found.json")
    finding = REPORT.finding()
    assert finding is not None
    assert finding.figures == {
        "data": "[red]coco.json", "protocol": "paper", "TR@1": 81.25, "IR@1": 60.0, "mean": 70.62,
        "pictures": 5000, "texts": 25010,
    }  # fmt: skip
    assert b'"published"' in (tmp_path / "found.json").read_bytes()


def test_of_a_server_s_model_there_is_no_finding() -> None:
    remote = Report("retrieval", "coco.json", Subject("a/model", "paper"), REPORT.measured, (), ())
    assert remote.finding() is None


def test_without_matplotlib_the_extra_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"needs the package .*: pip install 'blip-serve\[eval\]'"):
        drawing("matplotlib_that_is_not_there", Path("chart.png"))
