"""What a calibration's file holds, what it makes of logits, and which files are refused."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from blip_serve.calibration import MAX_BYTES, Identity, by_protocol, logistic, read_calibration
from blip_serve.errors import ConfigurationError
from tests.support.calibrating import calibration, threshold

HERE = Identity("sha256:0", "float32")


def test_the_logistic_curve_has_no_overflow() -> None:
    assert [logistic(x) for x in (-1e300, -800.0, 0.0, 800.0, 1e300)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert logistic(1.5) == pytest.approx(math.exp(1.5) / (math.exp(1.5) + 1), abs=1e-15)


def test_logits_become_platts_probability() -> None:
    found = calibration(temperature=4.0, bias=-1.0)
    assert found.apply((-1.0, 5.0)) == pytest.approx(logistic(6 / 4 - 1))
    assert calibration(temperature=1.0, bias=0.0).apply((0.3, 0.9)) == pytest.approx(logistic(0.6))


@pytest.mark.parametrize(("precision", "score"), [(0.6, 0.1), (0.67, 0.1), (0.7, 0.5), (0.95, 0.9), (0.96, None)])
def test_a_threshold_holds_the_precision_at_the_lower_end_of_its_interval(
    precision: float, score: float | None
) -> None:
    found = calibration().threshold_for(precision)
    assert (found and found.itm_score) == score
    assert calibration().best_threshold.itm_score == 0.9


def test_thresholds_are_tested_from_the_best_downwards_until_one_fails() -> None:
    table = [threshold(0.1, 0.95, 0.9), threshold(0.3, 0.7, 0.8), threshold(0.5, 0.95, 0.7), threshold(0.9, 0.99, 0.1)]
    scores = [calibration(thresholds=table, best=best).threshold_for(0.9) for best in (0.1, 0.3, 0.5, 0.9)]
    assert [found and found.itm_score for found in scores] == [0.1, None, 0.5, 0.5]


def test_a_file_reads_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "calibration.json"
    calibration().write(file)
    assert read_calibration(file) == calibration()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "doctor"}, "kind"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1.5}, "temperature"),
        ({"prior": 1}, "prior"),
        ({"protocol": "other"}, "protocol"),
        ({"more": 1}, "more"),
        ({"thresholds": []}, "thresholds"),
        ({"bias": None}, "bias"),
        ({"ece": {"raw": 2, "calibrated": 0}}, "ece.raw"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_the_place(
    tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(json.loads(calibration().model_dump_json()) | change))
    with pytest.raises(ConfigurationError, match=rf"^{file}: not a calibration: {fault}: "):
        read_calibration(file)


def test_thresholds_that_do_not_rise_or_lack_the_best_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    content = json.loads(calibration().model_dump_json())
    content["best"] = 0.2
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="the best threshold must be among them"):
        read_calibration(file)
    content["thresholds"].reverse()
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="thresholds must rise"):
        read_calibration(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b" " * (MAX_BYTES + 1), b'{"temperature": NaN}'])
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "calibration.json"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"^{file}: not a calibration"):
        read_calibration(file)
    with pytest.raises(ConfigurationError, match=r"missing.json: No such file"):
        read_calibration(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("found", "different", "alike"),
    [
        (Identity("sha256:1", "float32"), "checkpoint sha256:0, and here it is sha256:1", "number type"),
        (Identity("sha256:0", "bfloat16"), "number type float32, and here it is bfloat16", "checkpoint"),
    ],
)
def test_a_calibration_of_another_model_is_refused(tmp_path: Path, found: Identity, different: str, alike: str) -> None:
    file = tmp_path / "calibration.json"
    calibration(HERE).write(file)
    with pytest.raises(ConfigurationError, match=rf"^{file}: .*{different}") as raised:
        by_protocol([file], found)
    assert alike not in str(raised.value)


def test_a_model_has_one_calibration_a_protocol(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("hf.json", "paper.json", "again.json")]
    for file, protocol in zip(files, ("hf", "paper", "hf"), strict=True):
        calibration(HERE, protocol=protocol).write(file)
    assert {name: each.protocol for name, each in by_protocol(files[:2], HERE).items()} == {
        "hf": "hf",
        "paper": "paper",
    }
    with pytest.raises(ConfigurationError, match=r"again.json: another calibration is for the protocol hf"):
        by_protocol(files, HERE)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ConfigurationError, match=r"pipe.json: not a regular file"):
        read_calibration(tmp_path / "pipe.json")
