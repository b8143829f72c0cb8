"""The decide task without HTTP: the items for each kind of model, and the answers from its scores."""

import asyncio
import pickle
import weakref
from pathlib import Path

import pytest

from blip_serve.domain import Caption, Item, MatchItem, Outcome, Prepared, RankItem, Task
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.models.answerer import Answerer
from blip_serve.models.fake import IMAGE_TOKENS, FakeModel
from blip_serve.models.question_reader import QuestionState, Reading
from blip_serve.settings import LimitSettings
from blip_serve.tasks.decide import DecideRequest, DecideResult
from blip_serve.tasks.questions import (
    ChoiceAnswer,
    ChoiceQuestion,
    Option,
    PredicateAnswer,
    PredicateQuestion,
    Question,
    ScoreAnswer,
    ScoreQuestion,
    answer_of,
    captions_of,
    check_questions,
    softmax,
)
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.telemetry import Telemetry
from tests.support.checkpoints import SMALL_VQA, build
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.server import QUIET, always, fake_settings
from tests.support.tasks import with_service
from tests.support.waiting import wait_until

IMAGE = BytesImage(encoded(picture(1)), "image")
LIMITS = LimitSettings()


class Recording(FakeModel):
    """A fake that keeps the items it was asked."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__(*tasks)
        self.items: list[Item] = []

    def prepare(self, item: Item) -> Prepared:
        self.items.append(item)
        return super().prepare(item)


def predicate(statement: str) -> PredicateQuestion:
    return PredicateQuestion("questions[0]", Caption(statement, "questions[0].instructions"))


def options(*values: str | bool) -> tuple[Option, ...]:
    return tuple(Option(value, f"options[{i}]") for i, value in enumerate(values))


def choice(instructions: str, *values: str | bool) -> ChoiceQuestion:
    return ChoiceQuestion("questions[0]", Caption(instructions, "questions[0].instructions"), options(*values))


def score(instructions: str, *labels: str) -> ScoreQuestion:
    return ScoreQuestion("questions[0]", Caption(instructions, "questions[0].instructions"), options(*labels))


def decide(model: Recording, *questions: Question) -> DecideResult:
    """The result, once the model's warm-up is over and forgotten."""

    async def run() -> DecideResult:
        async with open_service(fake_settings(), Telemetry(QUIET), always(model)) as tasks:
            await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
            model.items.clear()
            return await tasks.run(DecideRequest(IMAGE, questions))

    return asyncio.run(run())


def words(question: Question) -> list[str]:
    return [caption.text for caption in captions_of(question, LIMITS)]


def test_requests_and_results_can_cross_a_process_border() -> None:
    questions = (predicate("a dog"), choice("a {}", "dog", True), score("dog", "one", "two"))
    request = DecideRequest(IMAGE, questions, model="fake", protocol="paper")
    assert pickle.loads(pickle.dumps(request)) == request
    result = decide(Recording("match"), *questions)
    assert pickle.loads(pickle.dumps(result)) == result
    assert [type(answer) for answer in result.answers] == [PredicateAnswer, ChoiceAnswer, ScoreAnswer]


def test_a_retrieval_model_is_asked_once_about_each_caption() -> None:
    model = Recording("match")
    result = decide(model, predicate("a dog"), choice("a {}", "dog", "cat"), predicate("a cat"))
    [item] = model.items
    assert isinstance(item, MatchItem)
    assert [caption.text for caption in item.captions] == ["a dog", "a cat"]
    assert item.scores == {"itm"}
    dog, either, cat = result.answers
    assert isinstance(dog, PredicateAnswer)
    assert isinstance(cat, PredicateAnswer)
    assert isinstance(either, ChoiceAnswer)
    # the fake's log-odds are twice its probability, less one
    assert either.probabilities == pytest.approx(softmax([2 * dog.probability, 2 * cat.probability]))
    assert result.usage.image_tokens == IMAGE_TOKENS
    assert result.usage.text_tokens == 2 + 4 + 2  # as often as it was given


def test_an_answering_model_ranks_the_options_of_every_question() -> None:
    model = Recording("answer")
    result = decide(model, choice("what is {} it?", "dog", True), score("how many dogs?", "one", "two or more"))
    assert sorted([item.question.text, [answer.text for answer in item.answers]]
                  for item in model.items if isinstance(item, RankItem)) == [
        ["how many dogs?", ["one", "two or more"]],
        ["what is {} it?", ["dog", "true"]],
    ]  # fmt: skip
    assert len(model.items) == 2
    assert len({id(item.image) for item in model.items if isinstance(item, RankItem)}) == 1
    assert result.usage.image_tokens == IMAGE_TOKENS
    assert result.usage.text_tokens == (4 + 1 + 1) + (3 + 1 + 3)
    assert [type(answer) for answer in result.answers] == [ChoiceAnswer, ScoreAnswer]


@pytest.mark.parametrize("kept", [0, 2**20])
def test_a_real_answering_model_encodes_the_image_once_for_four_hundred_questions(tmp_path: Path, kept: int) -> None:
    answerer = load(
        Answerer,
        build(tmp_path, SMALL_VQA, kind="answering"),
        images={"cache_tokens_bytes": kept, "cache_vectors_bytes": kept},
    )
    encoded_images: list[int] = []
    asked = tuple(choice(f"what is it {i}?", "a dog", "a small cat") for i in range(400))

    async def run() -> DecideResult:
        async with open_service(fake_settings(), Telemetry(QUIET), always(answerer)) as tasks:
            await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
            answerer.network.vision_model.register_forward_hook(
                lambda _, inputs, __: encoded_images.append(len(inputs[0]))
            )
            return await tasks.run(DecideRequest(IMAGE, asked))

    answers = asyncio.run(run()).answers
    assert encoded_images == [1]
    assert len(answers) == 400


def test_an_answering_model_is_asked_how_an_answer_to_a_predicate_begins() -> None:
    model = Recording("answer")
    result = decide(model, predicate("is it a dog?"), choice("what?", "dog", "cat"))
    [item] = [item for item in model.items if isinstance(item, RankItem) and item.beginnings]
    assert (item.question.text, [answer.text for answer in item.answers]) == ("is it a dog?", ["yes", "no"])
    assert {answer.param for answer in item.answers} == {"questions[0].type"}
    yes, either = result.answers
    assert isinstance(yes, PredicateAnswer)
    assert isinstance(either, ChoiceAnswer)
    assert 0 < yes.probability < 1
    assert result.usage.text_tokens == 4 + (1 + 1 + 1)  # yes and no were not given


@pytest.mark.parametrize("task", ["match", "answer"])
def test_options_that_read_alike_are_refused_within_a_question_only(task: Task) -> None:
    """The fake reads what is written; a description is read in place of its value."""
    model = Recording(task)
    twice = ChoiceQuestion(
        "questions[1]",
        Caption("a {}", "instructions"),
        (*options("dog", "cat"), Option("hound", "options[2]", Caption("cat", "options[2].description"))),
    )
    assert decide(model, choice("a {}", "dog", "cat"), score("a {}", "cat", "dog")).answers
    with pytest.raises(InvalidInput) as refused:
        decide(model, choice("a {}", "dog", "cat"), twice)
    assert (refused.value.code, refused.value.param) == ("duplicate_value", "options[2].description")
    assert "'options[1]'" in refused.value.message


def test_an_image_is_cached_only_if_none_of_its_questions_had_it_encoded() -> None:
    class Caching(Recording):
        def prepare(self, item: Item) -> Prepared:
            prepared = super().prepare(item)
            cached = 0 if isinstance(item, RankItem) and item.question.text == "second" else IMAGE_TOKENS
            return Prepared(prepared.works, IMAGE_TOKENS, cached, prepared.text_tokens)

    first, second = choice("first", "a", "b"), choice("second", "a", "b")

    async def ask(tasks: Tasks) -> list[int]:
        asked = [(first,), (first,), (first, second)]
        return [(await tasks.run(DecideRequest(IMAGE, each))).usage.cached_tokens for each in asked]

    assert with_service(Caching("answer"), ask) == [0, IMAGE_TOKENS, 0]  # the first time it is not the caller's own


def test_options_take_the_place_in_the_instructions() -> None:
    assert words(predicate("a {} dog")) == ["a {} dog"]
    assert words(choice("a {} dog", "red", "{}")) == ["a red dog", "a {} dog"]
    assert words(choice("{} or {}", "red", "blue")) == ["red or red", "blue or blue"]
    assert words(choice("which colour?", "red", "blue")) == ["red", "blue"]
    assert words(choice("it is {}", True, "true", False)) == ["it is true", "it is true", "it is false"]
    assert words(score("{} dogs", "no", "two")) == ["no dogs", "two dogs"]


def test_a_description_is_read_instead_of_the_value() -> None:
    described = Option(True, "value", Caption("a large dog", "description"))
    question = ChoiceQuestion("questions[0]", Caption("{} here", "instructions"), (described, *options(False)))
    assert captions_of(question, LIMITS) == (
        Caption("a large dog here", "description"),
        Caption("false here", "options[0]"),
    )


def test_a_caption_too_long_is_refused_before_it_is_made() -> None:
    limits = LimitSettings(max_caption_chars=4096)
    with pytest.raises(InvalidInput) as refused:
        captions_of(choice("{}" * 2048, "a", "b" * 4096), limits)
    assert (refused.value.code, refused.value.param) == ("input_too_long", "options[1]")
    assert captions_of(choice("{}" * 2048, "a", "bc"), limits)[1].text == "bc" * 2048


def test_probabilities_are_the_softmax_of_the_numbers() -> None:
    chosen = answer_of(choice("a {}", "dog", "cat", "cow"), [0.0, 2.0, 1.0])
    assert isinstance(chosen, ChoiceAnswer)
    assert chosen.choice == "cat"
    assert chosen.confidence == pytest.approx(0.66524096)
    assert chosen.probabilities == pytest.approx((0.09003057, 0.66524096, 0.24472847))
    rated = answer_of(score("{}", "one", "two", "three"), [0.0, 2.0, 1.0])
    assert isinstance(rated, ScoreAnswer)
    assert rated.score == pytest.approx(0.66524096 + 2 * 0.24472847)
    assert (rated.confidence, rated.probabilities) == (chosen.confidence, chosen.probabilities)
    assert answer_of(predicate("a dog"), [0.25]) == PredicateAnswer(0.25)


def test_the_first_of_equals_is_chosen() -> None:
    answer = answer_of(choice("{}", "true", True, "no"), [1.0, 1.0, -9.0])
    assert isinstance(answer, ChoiceAnswer)
    assert answer.choice == "true"


@pytest.mark.parametrize("numbers", [[-5000.0, -5001.0], [5000.0, 4999.0], [1e300, 1e300 - 1], [-0.1] * 255])
def test_probabilities_of_any_numbers_sum_to_one(numbers: list[float]) -> None:
    shares = softmax(numbers)
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    assert all(0 <= share <= 1 for share in shares)


REFUSED: list[tuple[str, list[Question], str, str]] = [
    ("no question", [], "invalid_value", "questions"),
    ("401 questions", [predicate("a dog")] * 401, "too_many_questions", "questions"),
    ("one choice", [choice("{}", "a")], "invalid_value", "questions[0].choices"),
    ("256 choices", [choice("{}", *map(str, range(256)))], "too_many_choices", "questions[0].choices"),
    ("one level", [score("{}", "a")], "invalid_value", "questions[0].levels"),
    ("11 levels", [score("{}", *map(str, range(11)))], "too_many_levels", "questions[0].levels"),
    ("a choice twice", [choice("{}", "a", True, "true", True)], "duplicate_value", "options[3]"),
    ("a level twice", [score("{}", "a", "b", "a")], "duplicate_value", "options[2]"),
    ("more captions than the limit", [choice("{}", *map(str, range(200)))] * 6, "too_many_captions", "questions"),
    ("blank statement", [predicate(" ")], "empty_input", "questions[0].instructions"),
    ("blank instructions", [choice("\n", "a", "b")], "empty_input", "questions[0].instructions"),
    ("blank value", [choice("a {}", "a", "")], "empty_input", "options[1]"),
    ("long label", [score("{}", "a", "b" * 9000)], "input_too_long", "options[1]"),
]


@pytest.mark.parametrize(
    ("questions", "code", "param"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_be_asked_is_refused_by_name(questions: list[Question], code: str, param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_questions(questions, LIMITS)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_as_much_as_the_limits_allow_is_asked() -> None:
    most: list[Question] = [
        choice("{}", *map(str, range(255))),
        score("{}", *map(str, range(10))),
        *[predicate("a dog")] * 398,
    ]
    assert check_questions(most, LIMITS) == 255 + 10 + 398


def test_captions_are_also_held_to_the_pairs_of_a_request() -> None:
    limits = LimitSettings(max_captions=10, max_pairs=3)
    assert check_questions([choice("{}", "a", "b"), predicate("a dog")], limits) == 3
    with pytest.raises(InvalidInput) as refused:
        check_questions([choice("{}", "a", "b"), choice("{}", "a", "b")], limits)
    assert refused.value.code == "too_many_captions"


def test_what_was_read_of_a_question_is_let_go_once_it_is_ranked(tmp_path: Path) -> None:
    """The prepared works of hundreds of questions would take gigabytes."""
    answerer = load(Answerer, build(tmp_path, SMALL_VQA, kind="answering"), images={"cache_tokens_bytes": 0})
    read: list[weakref.ref[QuestionState]] = []
    most = step_size = 0
    asked = tuple(choice(f"what is it {i}?", "a dog", "a cat") for i in range(400))
    collect = answerer._reader.collect

    def counting(step: Reading) -> list[Outcome]:
        nonlocal most, step_size
        step_size = max(step_size, len(step.questions))
        read.extend(weakref.ref(question) for question in step.questions)
        most = max(most, sum(question() is not None for question in read))
        return collect(step)

    answerer._reader.collect = counting  # type: ignore[method-assign]

    async def run() -> DecideResult:
        async with open_service(
            fake_settings(engine={"max_step_cost": 160}), Telemetry(QUIET), always(answerer)
        ) as tasks:
            await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
            return await tasks.run(DecideRequest(IMAGE, asked))

    assert len(asyncio.run(run()).answers) == 400
    assert len(read) > 400  # the warm-up's as well
    assert most <= 3 * step_size < 300, (most, step_size)  # those being ranked, those read, those being read
