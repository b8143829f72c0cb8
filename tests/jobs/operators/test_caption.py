"""Captions and answers of rows."""

from dataclasses import replace

import pytest

from blip_serve.domain import GenerationOptions
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.operators.answer import AnswerOperator
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.seeds import row_seed
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.operators.wording import Wording
from blip_serve.tasks.generate import AnswerRequest, CaptionRequest
from tests.jobs.operators.support import applied, outcome, row

DRAWN = GenerationOptions(temperature=1.0, top_p=0.9)


def test_one_caption_is_a_text_and_several_are_a_list() -> None:
    one, several = CaptionOperator(), CaptionOperator(n=2)
    found, many = outcome(one, row()), outcome(several, row())
    assert isinstance(found, dict)
    assert isinstance(many, dict)
    assert found.keys() == one.columns.keys() == {"caption"}
    assert many.keys() == several.columns.keys() == {"captions"}
    assert (found["caption"], len(many["captions"])) == (many["captions"][0], 2)
    assert (one.text, several.text) == ("caption", None)


def test_a_request_has_all_that_was_asked_for() -> None:
    options = GenerationOptions(num_beams=3, max_tokens=7, repetition_penalty=1.2)
    operator = CaptionOperator("a drawing of", options, 3, serving=Serving("fake", "paper"))
    _, [asked] = applied(operator, row())
    assert isinstance(asked, CaptionRequest)
    assert (asked.text.text, asked.options, asked.n) == ("a drawing of", options, 3)
    assert (asked.model, asked.protocol, asked.service_tier) == ("fake", "paper", "auto")
    assert asked.image.param == "image"


def test_what_is_drawn_has_a_seed_of_each_row() -> None:
    _, asked = applied(CaptionOperator(options=DRAWN, seed=7), row(0), row(1), row(0))
    seeds = [request.options.seed for request in asked if isinstance(request, CaptionRequest)]
    assert seeds == [row_seed(7, "rows.jsonl:0"), row_seed(7, "rows.jsonl:1"), row_seed(7, "rows.jsonl:0")]
    assert len({*seeds, row_seed(8, "rows.jsonl:0")}) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_seed_of_a_row_stays_the_same_for_ever() -> None:
    assert row_seed(0, "photos/a.jpg") == 4_080_774_604


def test_where_nothing_is_drawn_the_seed_is_left_alone() -> None:
    _, [asked] = applied(CaptionOperator(seed=7), row())
    assert isinstance(asked, CaptionRequest)
    assert asked.options == GenerationOptions()


def test_a_question_is_the_same_for_all_rows_or_each_row_s_own() -> None:
    given, own = Wording("what colour?"), Wording(column="asked")
    _, [first] = applied(AnswerOperator(given), row())
    _, [second] = applied(AnswerOperator(own), row(asked="how many?"))
    assert isinstance(first, AnswerRequest)
    assert isinstance(second, AnswerRequest)
    assert (first.text.text, second.text.text, second.text.param) == ("what colour?", "how many?", "asked")
    assert (given.reads, own.reads) == ((), ("asked",))


def test_answers_are_a_text_or_a_list_and_draw_with_the_row_s_seed() -> None:
    one = AnswerOperator(Wording("how many?"), DRAWN, seed=3)
    many = replace(one, n=2)
    [found, several], asked = [outcome(one, row()), outcome(many, row())], applied(many, row(5))[1]
    assert isinstance(found, dict)
    assert isinstance(several, dict)
    assert found["answer"] == several["answers"][0]
    assert (one.columns, many.columns) == ({"answer": "string"}, {"answers": "strings"})
    assert isinstance(asked[0], AnswerRequest)
    assert asked[0].options.seed == row_seed(3, "rows.jsonl:5")


@pytest.mark.parametrize("given", [(None, None), ("what?", "asked"), (" ", None)])
def test_a_question_given_twice_or_not_at_all_is_refused(given: tuple[str | None, str | None]) -> None:
    with pytest.raises(ConfigurationError, match="--question"):
        Wording(*given)
