"""The scoreboard's own judgements: each can fail."""

import json
from pathlib import Path

import pytest

from scoreboard.fuzzing.judge import Judge
from scoreboard.memory import growth
from scoreboard.parts.threats import outcomes

HEADERS = {"x-request-id": "req-1"}


def envelope(**changes: object) -> bytes:
    return json.dumps({"error": {"message": "No.", "type": "t", "param": None, "code": "c"} | changes}).encode()


def test_envelope_passes() -> None:
    judge = Judge()
    judge.answered("", 400, HEADERS, envelope())
    judge.answered("", 200, HEADERS, b"anything")
    assert (judge.requests, judge.broken, judge.server_errors, judge.wrong) == (2, 0, 0, [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"detail": "x"}',
        envelope(more=1),
        envelope(message=""),
        envelope(message="at /usr/lib/x"),
        envelope(message="cannot identify image file"),
        envelope(code=None),
        envelope(param=1),
    ],
)
def test_anything_else_is_broken(body: bytes) -> None:
    judge = Judge()
    judge.answered("", 400, HEADERS, body)
    assert judge.broken == 1


def test_answer_without_an_id_is_broken() -> None:
    judge = Judge()
    judge.answered("", 200, {}, b"")
    assert judge.broken == 1


@pytest.mark.parametrize(
    ("status", "code", "overloaded"),
    [(429, "overloaded", True), (503, "deadline_exceeded", False), (500, "overloaded", False)],
)
def test_only_a_refusal_for_overload_is_no_fault(status: int, code: str, overloaded: bool) -> None:
    judge = Judge()
    judge.answered("", status, HEADERS, envelope(code=code))
    assert (judge.overloaded, judge.server_errors) == (int(overloaded), int(not overloaded))


def test_growth_is_the_lines_rise_over_its_start() -> None:
    assert growth([(10.0, 100.0), (20.0, 101.0), (30.0, 102.0)]) == pytest.approx(0.02)


def test_threat_passes_where_all_its_cases_do(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="a" name="test_input[row05-svg]"/>'
        '<testcase classname="a" name="test_input[row05-eps]"><failure/></testcase>'
        '<testcase classname="a" name="test_row06"/>'
        '<testcase classname="a" name="test_input[row07]"><skipped/></testcase>'
        '<testcase classname="a" name="test_other"/>'
        "</testsuite></testsuites>"
    )
    assert outcomes(report) == {5: [True, False], 6: [True], 7: [False]}
