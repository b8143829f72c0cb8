"""The whole examination of a demo, and what it keeps; the rows of configuration; exit codes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BlipConfig, BlipVisionModel

from blip_serve.catalogue import EMBEDDED
from blip_serve.doctor import environment
from blip_serve.doctor.check import Check, Report, Status
from blip_serve.doctor.configuration import configuration
from blip_serve.doctor.examination import examine
from blip_serve.doctor.facts import ASSUMED
from blip_serve.doctor.golden import card_rows, golden_row, golden_rows
from blip_serve.doctor.published import Golden
from blip_serve.doctor.trials import Matching, shipped
from blip_serve.doctor.trials import picture as picture_of
from blip_serve.errors import ConfigurationError
from blip_serve.findings import Findings
from blip_serve.models.captioner import Captioner
from blip_serve.settings import Settings
from tests.doctor.faults import exchange, number
from tests.doctor.test_faults import failed, settings_of
from tests.support.damage import edit_weights
from tests.support.loading import load, load_matcher


def test_an_unchanged_demo_passes_and_a_finding_is_kept(tmp_path: Path) -> None:
    settings = Settings.of({"device": "cpu", "dtype": "float32", "data_dir": tmp_path})
    report = examine(settings, "demo")
    assert (report.exit_code, failed(list(report.checks))) == (0, {})
    assert {check.part for check in report.checks} >= {"machine", "card", "digests", "weights", "transformers"}
    [finding] = Findings(tmp_path).of("blip-serve/demo-retrieval")
    assert (finding.kind, finding.dtype) == ("doctor", "float32")
    assert finding.figures["checks failed"] == 0
    assert 0 < float(finding.figures["largest difference from transformers"] or 0) < 1e-4


def test_exchanged_columns_are_named_by_the_cards_own_figures(tmp_path: Path) -> None:
    """Transformers reads the same weights, and would agree."""
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    edit_weights(exchange)(folder)
    found = failed(list(card_rows("blip-serve/demo-retrieval", load_matcher(folder))))
    assert found["ITM columns"] == "the wrong caption matches better 12 times"


def test_published_values_of_a_checkpoint_are_compared_with_the_picture_that_is_given() -> None:
    picture = EMBEDDED / "pictures" / "red-circle.png"
    matcher, captioner = (
        load_matcher(EMBEDDED / "demo-retrieval"),
        load(Captioner, EMBEDDED / "demo-captioning"),
    )
    assert len(failed(list(golden_rows("Salesforce/blip-itm-base-coco", matcher, picture)))) == 4
    assert len(failed(list(golden_rows("Salesforce/blip-image-captioning-base", captioner, picture)))) == 2
    [row] = golden_rows("blip-serve/demo-retrieval", matcher, picture)
    assert (row.status, row.name) == ("not checked", "golden values")
    [same] = golden_row(Golden("", "here", written="a large red circle"), captioner, picture_of(picture))
    assert same.status == "passed"


def test_a_file_that_is_no_picture_is_named_and_the_weights_are_not_blamed(tmp_path: Path) -> None:
    matcher = load_matcher(EMBEDDED / "demo-retrieval")
    for file in (EMBEDDED / "demo-retrieval" / "vocab.txt", tmp_path / "nothing.jpg"):
        [row] = golden_rows("Salesforce/blip-itm-base-coco", matcher, file)
        assert (row.status, row.expected, row.advice) == ("failed", "BLIP's demo.jpg", "correct --golden")
        assert str(file) in row.seen


def test_a_missing_package_fails_even_if_any_version_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "requires", lambda _: ["no-such-package", "torch", 'other; extra == "ray"'])
    found = {check.name: (check.status, check.seen) for check in environment.versions()}
    assert found == {"Python": found["Python"], "no-such-package": ("failed", "not installed")}


def test_transformers_encodes_each_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[torch.Tensor] = []
    forward = BlipVisionModel.forward

    def counted(tower: BlipVisionModel, pixels: torch.Tensor, **options: Any) -> Any:
        encoded.append(pixels)
        return forward(tower, pixels, **options)

    monkeypatch.setattr(BlipVisionModel, "forward", counted)
    Matching().reference(EMBEDDED / "demo-retrieval")
    assert len(encoded) == len(shipped())


def test_weights_that_do_not_load_leave_the_comparison_unchecked(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    edit_weights(number("itm_head.bias", torch.nan))(folder)
    report = examine(settings_of(folder, tmp_path, dtype="float32"), "blip-serve/demo-retrieval")
    found = failed(list(report.checks))
    assert "itm_head.bias holds NaN or infinity" in found["loads"]
    assert [(check.part, check.name) for check in report.of("not checked")] == [("transformers", "all")]


def test_a_name_that_no_model_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--model: no model is called 'nobody'"):
        examine(Settings.of({"data_dir": tmp_path}), "nobody")


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (("passed", "measured"), 0),
        (("passed", "not checked"), 3),
        (("passed", "not checked", "failed"), 1),
        ((), 0),
    ],
)
def test_not_checked_is_never_passed(statuses: tuple[Status, ...], code: int) -> None:
    assert Report(tuple(Check("part", "name", status, "seen") for status in statuses)).exit_code == code


def test_only_what_differs_from_its_default_is_listed_and_secrets_stay_masked(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "dtype": "float32",
        "auth": {"redis_url": "redis://:secret@host", "keys": [{"name": "alice", "sha256": "0" * 64}]},
        "server": {"port": 8000},
    }
    found = {check.name: check.seen for check in configuration(Settings.of(values))}
    assert found == {"dtype": "float32", "auth.keys": "alice", "auth.redis_url": "**********"}
    assert json.dumps(found).count("secret") == 0


def test_what_is_assumed_of_absent_keys_is_what_transformers_takes() -> None:
    config = BlipConfig().to_dict()
    for section, assumed in ASSUMED.items():
        assert {name: config[section][name] for name in assumed} == assumed
