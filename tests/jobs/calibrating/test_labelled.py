"""Labelled pairs are scored, and labels are read."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.jobs.calibrating import labelled
from blip_serve.jobs.calibrating.labelled import LabelledOperator, label_of, read_pairs
from tests.jobs.operators.support import PICTURE, never, outcome, row

OPERATOR = LabelledOperator("text", "label", "sha256:0", "float32")


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", " YES ", "1"])
def test_what_is_true(value: Any) -> None:
    assert label_of(row(label=value), "label") is True


@pytest.mark.parametrize("value", [False, 0, 0.0, "false", "NO", "0"])
def test_what_is_false(value: Any) -> None:
    assert label_of(row(label=value), "label") is False


@pytest.mark.parametrize("value", [None, "", "maybe", 2, 0.5, [1], float("nan"), "x" * 1000])
def test_what_is_no_label_is_the_rows_error(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"The column 'label' .*labels are true, yes, 1, false, no, 0") as raised:
        asyncio.run(OPERATOR.apply(row(text="a star", label=value), PICTURE, never))
    assert len(raised.value.message) < 150
    assert (raised.value.code, raised.value.param) == ("invalid_label", "label")


def test_a_pair_has_its_label_its_logits_and_its_pictures_digest() -> None:
    found = outcome(OPERATOR, row(text="a star", label="no"))
    assert isinstance(found, dict)
    assert found.keys() == OPERATOR.columns.keys()
    assert found["true_pair"] is False
    assert len(found["itm_logits"]) == 2
    assert found["picture_digest"] == sha256(PICTURE.data).hexdigest()


def test_pairs_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pairs.jsonl"
    written = [([0.5, 2.0], True, "b"), ([1.0, -1.0], False, "a"), ([0.0, 0.0], False, "b")]
    lines = [{"itm_logits": a, "true_pair": b, "picture_digest": c} for a, b, c in written]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pairs, digests = read_pairs(file)
    assert pairs.differences.tolist() == [1.5, -2, 0]
    assert pairs.true.tolist() == [True, False, False]
    assert [digests[number] for number in pairs.pictures] == ["b", "a", "b"]
    assert pairs.weights(0.5).tolist() == pytest.approx([1.5, 0.75, 0.75])
    monkeypatch.setattr(labelled, "MOST", 2)
    with pytest.raises(ConfigurationError, match="more than 2 pairs"):
        read_pairs(file)
