"""Results with `_repr_html_` are what they were: type, equality, hash, copies and pickles."""

import copy
import pickle
from dataclasses import replace

import pytest

from blip_serve.domain import MatchScores
from blip_serve.notebook.shown import shown
from blip_serve.tasks.match import MatchPair, MatchResult
from tests.notebook.results import SERVED

PLAIN = MatchResult((MatchPair(0, 0, MatchScores(itm_score=0.5)),), **SERVED)
OTHER = replace(PLAIN, pairs=())
SHOWN = shown(PLAIN, lambda result: f"<p>{len(result.pairs)}</p>")


def test_a_notebook_gets_its_html() -> None:
    assert SHOWN._repr_html_() == "<p>1</p>"  # type: ignore[attr-defined]


def test_it_is_equal_to_the_plain_result_either_way_round() -> None:
    assert SHOWN == PLAIN
    assert PLAIN == SHOWN
    assert hash(SHOWN) == hash(PLAIN)
    assert shown(PLAIN, str) == SHOWN
    assert SHOWN != OTHER
    assert OTHER != SHOWN


def test_it_has_the_plain_results_type_attributes_and_name() -> None:
    assert isinstance(SHOWN, MatchResult)
    assert SHOWN.pairs is PLAIN.pairs
    assert repr(SHOWN) == repr(PLAIN)
    with pytest.raises(AttributeError):
        SHOWN.pairs = ()  # type: ignore[misc]


def test_pickles_and_copies_are_plain_and_refer_to_no_picture() -> None:
    for same in (pickle.loads(pickle.dumps(SHOWN)), copy.copy(SHOWN), copy.deepcopy(SHOWN)):
        assert type(same) is MatchResult
        assert same == PLAIN


def test_one_that_was_replaced_has_no_html_of_its_own() -> None:
    changed = replace(SHOWN, model="another")
    assert changed.model == "another"
    assert changed._repr_html_() is None  # type: ignore[attr-defined]
