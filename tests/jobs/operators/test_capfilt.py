"""Captioning and filtering."""

import asyncio
import pickle
from typing import Any, TypeVar, cast

import pytest

from blip_serve.domain import GeneratedText, MatchScores
from blip_serve.errors import InternalError, InvalidInput
from blip_serve.jobs.operators.answer import AnswerOperator
from blip_serve.jobs.operators.best import Best
from blip_serve.jobs.operators.capfilt import CapFiltOperator
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.embed import EmbedOperator
from blip_serve.jobs.operators.filter import FilterOperator
from blip_serve.jobs.operators.match import MatchOperator
from blip_serve.jobs.operators.operator import Operator
from blip_serve.jobs.operators.predicate import PredicateOperator
from blip_serve.jobs.operators.seeds import row_seed
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.operators.wording import Wording
from blip_serve.jobs.rows import Dropped, Fields
from blip_serve.tasks.generate import CaptionRequest, GenerateResult
from blip_serve.tasks.match import MatchPair, MatchRequest, MatchResult
from blip_serve.tasks.request import Request, Served, Timings, Usage
from tests.jobs.operators.support import PICTURE, applied, row

ResultT = TypeVar("ResultT")
SERVED = Served(
    model="m", protocol="hf", service_tier="default", usage=Usage(0, 0, 0), timings=Timings(0.0, 0.0, 0.0, 0.0)
)


class Scripted:
    """Writes one caption, and scores texts as told."""

    def __init__(self, caption: str, **scores: float | None) -> None:
        self._caption = caption
        self._scores = {name.replace("_", " "): score for name, score in scores.items()}
        self.requests: list[Request[Any]] = []

    async def __call__(self, request: Request[ResultT], /) -> ResultT:
        """The result."""
        self.requests.append(request)
        if isinstance(request, CaptionRequest):
            written: Any = GenerateResult((GeneratedText(self._caption, "stop", 3),), **SERVED)
            return cast(ResultT, written)
        assert isinstance(request, MatchRequest)
        pairs = tuple(
            MatchPair(0, i, MatchScores(None, self._scores[text.text])) for i, text in enumerate(request.captions)
        )
        return cast(ResultT, MatchResult(pairs, **SERVED))


def filtered(operator: CapFiltOperator, ask: Scripted) -> Fields | Dropped:
    return asyncio.run(operator.apply(row(4, alt="my cat"), PICTURE, ask))


@pytest.mark.parametrize(
    ("web", "synthetic", "kept", "texts"),
    [
        (0.9, 0.8, ["web", "synthetic"], ["my cat", "a dog"]),
        (0.5, 0.49, ["web"], ["my cat"]),
        (0.1, 0.5, ["synthetic"], ["a dog"]),
    ],
)
def test_texts_at_the_threshold_or_above_are_kept(
    web: float, synthetic: float, kept: list[str], texts: list[str]
) -> None:
    operator = CapFiltOperator("alt")
    found = filtered(operator, Scripted("a dog", my_cat=web, a_dog=synthetic))
    assert found == {
        "synthetic": "a dog",
        "web_itm_score": web,
        "synthetic_itm_score": synthetic,
        "kept": kept,
        "texts": texts,
    }
    assert list(operator.columns) == list(found)


def test_a_row_with_no_text_left_is_dropped_with_its_scores() -> None:
    found = filtered(CapFiltOperator("alt", 0.7), Scripted("a dog", my_cat=0.6, a_dog=0.5))
    assert isinstance(found, Dropped)
    assert found.reason == "no text matches"
    assert (found.fields["web_itm_score"], found.fields["kept"]) == (0.6, [])


def test_a_blank_caption_matches_nothing() -> None:
    found = filtered(CapFiltOperator("alt"), Scripted(" ", my_cat=0.9))
    assert isinstance(found, dict)
    assert (found["kept"], found["synthetic_itm_score"]) == (["web"], None)


@pytest.mark.parametrize("operator", [CapFiltOperator("alt"), MatchOperator("alt", ("itm",))])
def test_a_score_that_is_missing_is_an_error_and_no_number(operator: Operator) -> None:
    with pytest.raises(InternalError, match="no itm_score"):
        asyncio.run(operator.apply(row(4, alt="my cat"), PICTURE, Scripted("a dog", my_cat=None, a_dog=None)))


def test_it_samples_by_the_row_s_seed_and_scores_both_texts_at_once_as_the_paper_does() -> None:
    ask = Scripted("a dog", my_cat=0.9, a_dog=0.9)
    filtered(CapFiltOperator("alt", seed=2, captioner=Serving("writer"), matcher=Serving("judge", "paper")), ask)
    written, scored = ask.requests
    assert isinstance(written, CaptionRequest)
    assert (written.model, written.options.top_p, written.options.temperature) == ("writer", 0.9, 1.0)
    assert written.options.seed == row_seed(2, "rows.jsonl:4")
    assert isinstance(scored, MatchRequest)
    assert (scored.model, scored.protocol, scored.scores) == ("judge", "paper", frozenset({"itm"}))
    assert [text.param for text in scored.captions] == ["alt", "synthetic"]


def test_by_default_the_filter_reads_texts_as_the_paper_does() -> None:
    _, [written, scored] = applied(CapFiltOperator("alt"), row(alt="my cat"))
    assert (written.protocol, scored.protocol) == (None, "paper")


def test_a_row_without_its_web_text_is_refused_before_anything_is_asked() -> None:
    ask = Scripted("a dog")
    with pytest.raises(InvalidInput) as found:
        asyncio.run(CapFiltOperator("alt").apply(row(), PICTURE, ask))
    assert (found.value.param, ask.requests) == ("alt", [])


MADE: tuple[Operator, ...] = (
    CaptionOperator(),
    AnswerOperator(Wording("what?")),
    MatchOperator("alt"),
    EmbedOperator(),
    PredicateOperator(Wording(column="alt")),
    FilterOperator("itm_score", 0.5, "alt"),
    CapFiltOperator("alt"),
    Best("itm_score", 0.5, 0.1, 3),
)


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_every_operator_crosses_a_process_border(made: Operator) -> None:
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(made) == hash(pickle.loads(pickle.dumps(made)))


def test_captions_may_have_a_threshold_of_their_own() -> None:
    found = filtered(CapFiltOperator("alt", 0.5, 0.7), Scripted("a dog", my_cat=0.6, a_dog=0.6))
    assert isinstance(found, dict)
    assert found["kept"] == ["web"]
