"""Scores and vectors of rows."""

import math
from typing import Any

import pytest

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.jobs.operators.embed import EmbedOperator
from blip_serve.jobs.operators.match import MatchOperator
from blip_serve.jobs.operators.predicate import PredicateOperator
from blip_serve.jobs.operators.wording import Wording
from blip_serve.jobs.rows import Fields
from tests.jobs.operators.support import outcome, row


def test_a_text_has_numbers_and_a_list_of_texts_has_lists() -> None:
    one = outcome(MatchOperator("alt"), row(alt="a star"))
    many = outcome(MatchOperator("alt", lists=True), row(alt=["a circle", "a star"]))
    assert isinstance(one, dict)
    assert isinstance(many, dict)
    assert one.keys() == {"itm_score", "cosine_score"}
    assert {name: values[1] for name, values in many.items()} == one
    assert 0 <= one["itm_score"] <= 1


def test_as_each_row_has_it_is_both() -> None:
    operator = MatchOperator("alt", ("itm",), lists=None)
    one, many = outcome(operator, row(alt="a star")), outcome(operator, row(alt=["a star"]))
    assert isinstance(one, dict)
    assert many == {"itm_score": [one["itm_score"]]}
    assert operator.columns == {"itm_score": "json"}


def test_where_lists_are_expected_one_text_is_a_list_of_one() -> None:
    found = outcome(MatchOperator("alt", ("cosine",), lists=True), row(alt="a star"))
    assert isinstance(found, dict)
    assert len(found["cosine_score"]) == 1


def test_only_the_scores_that_are_asked_for_are_columns() -> None:
    operator = MatchOperator("alt", ("cosine",))
    found = outcome(operator, row(alt="a star"))
    assert isinstance(found, dict)
    assert found.keys() == operator.columns.keys() == {"cosine_score"}
    assert (operator.score, MatchOperator("alt").score, MatchOperator("alt", lists=True).score) == (
        "cosine_score",
        "itm_score",
        None,
    )


@pytest.mark.parametrize("scores", [(), ("best",)])
def test_scores_that_there_are_not_are_refused(scores: Any) -> None:
    with pytest.raises(ConfigurationError, match="itm, cosine, calibrated"):
        MatchOperator("alt", scores)


WRONG: list[tuple[Fields, str, str]] = [
    ({}, "missing_column", "alt"),
    ({"alt": None}, "missing_column", "alt"),
    ({"alt": ""}, "empty_input", "alt"),
    ({"alt": " \n"}, "empty_input", "alt"),
    ({"alt": 5}, "invalid_type", "alt"),
    ({"alt": {}}, "invalid_type", "alt"),
    ({"alt": ["a star"]}, "invalid_type", "alt"),
    ({"alt": "a \ud800 star"}, "invalid_text", "alt"),
    ({"alt": "x" * 100_000}, "input_too_long", "alt"),
]


@pytest.mark.parametrize(("fields", "code", "param"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_wrong_in_a_column_is_the_row_s_error_and_names_it(fields: Fields, code: str, param: str) -> None:
    with pytest.raises(InvalidInput) as found:
        outcome(MatchOperator("alt"), row(**fields))
    assert (found.value.code, found.value.param) == (code, param)


@pytest.mark.parametrize(("value", "param"), [([], "alt"), (["a star", ""], "alt[1]"), (["a star", None], "alt[1]")])
def test_what_is_wrong_in_a_list_names_the_entry(value: object, param: str) -> None:
    with pytest.raises(InvalidInput) as found:
        outcome(MatchOperator("alt", lists=True), row(alt=value))
    assert found.value.param == param


def test_a_picture_or_a_text_becomes_a_unit_vector() -> None:
    of_picture, of_text = EmbedOperator(), EmbedOperator("alt")
    found = [outcome(of_picture, row()), outcome(of_text, row(alt="a star"), picture=None)]
    for fields in found:
        assert isinstance(fields, dict)
        assert math.hypot(*fields["embedding"]) == pytest.approx(1)
    assert (of_picture.needs_picture, of_text.needs_picture) == (True, False)
    assert found[0] != found[1]


def test_p_yes_of_a_statement_is_the_probability_of_a_match() -> None:
    given = outcome(PredicateOperator(Wording("a star", option="--statement")), row())
    own = outcome(PredicateOperator(Wording(column="said")), row(said="a star"))
    scored = outcome(MatchOperator("said", ("itm",)), row(said="a star"))
    assert isinstance(scored, dict)
    assert given == own == {"probability": scored["itm_score"]}


def test_a_calibrated_score_of_a_model_without_calibration_ends_the_run() -> None:
    with pytest.raises(ConfigurationError, match="the model has no calibration for this protocol"):
        outcome(MatchOperator("alt", ("calibrated",)), row(alt="a star"))
