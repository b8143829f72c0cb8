"""The accuracy of answers, against the values that the official code gave (`vqa_accuracy.json` says how)."""

import json
from pathlib import Path
from typing import Any

import pytest

from blip_serve.jobs.evaluation.vqa_accuracy import accuracy, compared

OFFICIAL: dict[str, Any] = json.loads(Path(__file__).with_name("vqa_accuracy.json").read_text(encoding="utf-8"))


def test_every_answer_is_as_right_as_the_official_code_says() -> None:
    cases = OFFICIAL["cases"]
    assert len(cases) > 400
    found = [100 * accuracy(case["answer"], case["given"]) for case in cases]
    assert found == pytest.approx([case["accuracy"] for case in cases], abs=1e-9)
    assert sum(found) / len(found) == pytest.approx(OFFICIAL["overall"], abs=1e-9)


@pytest.mark.parametrize(("agreeing", "right"), [(10, 1.0), (4, 1.0), (3, 0.9), (2, 0.6), (1, 0.3), (0, 0.0)])
def test_an_answer_is_as_right_as_people_agree_with_it(agreeing: int, right: float) -> None:
    assert accuracy("2", ["2"] * agreeing + ["three"] * (10 - agreeing)) == pytest.approx(right)


@pytest.mark.parametrize(
    ("answer", "spelled"),
    [
        ("The T-shirt.", "t shirt"),
        ("a red, white and blue flag", "red white and blue flag"),
        ("dont", "don't"),
        ("Ten", "10"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
    ],
)
def test_answers_are_compared_without_marks_and_articles(answer: str, spelled: str) -> None:
    assert compared(answer) == spelled


def test_where_all_people_agree_nothing_is_cleaned() -> None:
    assert accuracy("Yes", ["yes"] * 10) == 0
    assert accuracy("Yes", ["yes"] * 9 + ["no"]) == 1
