"""Answers equal those of transformers token for token in float32, and likelihoods its modules' in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import IMAGE_COST, Caption, RankItem, ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.models.answerer import Answerer
from blip_serve.tasks.questions import softmax
from tests.support.checkpoints import SMALL_VQA, build
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.reference import AnswerReference
from tests.support.rounding import furthest
from tests.support.running import generated_ids, image_bytes, run, run_prepared, writing

IMAGES = [encoded(picture(0, 96, 96)), (EMBEDDED / "pictures" / "blue-square-green-star.png").read_bytes()]
QUESTIONS = [
    "what is it?",
    "What color is the square?",
    'Is the "large" dog sitting on the beach (with a woman) ... and a man!',
    "red",
]
LONG = "what is the dog sitting on with a small woman? " * 3  # over 35 tokens: the paper cuts it
ANSWERS = ["dog", "a cat", "two small red dogs on the beach", "a"]
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "3 beams": {"num_beams": 3},
    "min length": {"min_tokens": 4, "max_tokens": 9},
    "3 beams, min length, penalty": {"num_beams": 3, "min_tokens": 4, "max_tokens": 9, "repetition_penalty": 1.7},
}
PROTOCOLS: list[ScoringProtocol] = ["hf", "paper"]


@pytest.fixture(scope="module", params=["demo", "2022 safetensors", "2022 bin"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "demo":
        return EMBEDDED / "demo-vqa"
    pickled = request.param.endswith("bin")
    return build(tmp_path_factory.mktemp("checkpoint"), SMALL_VQA, kind="answering", seed=7, pickled=pickled)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> AnswerReference:
    return AnswerReference(checkpoint)


@pytest.fixture(scope="module")
def answerer(checkpoint: Path) -> Answerer:
    return load(Answerer, checkpoint, engine={"max_sequences": 256})


def expected(
    reference: AnswerReference, image: bytes, question: str, protocol: ScoringProtocol, way: dict[str, Any]
) -> tuple[str, list[int]]:
    ids, texts = reference.generate(
        image,
        question,
        protocol,
        do_sample=False,
        max_new_tokens=way.get("max_tokens", 20),
        min_new_tokens=way.get("min_tokens", 0),
        num_beams=way.get("num_beams", 1),
        repetition_penalty=way.get("repetition_penalty", 1.0),
    )
    return texts[0], ids[0]


def ranking(image: bytes, question: str, answers: list[str], protocol: ScoringProtocol) -> RankItem:
    texts = tuple(Caption(answer, f"answers[{i}]") for i, answer in enumerate(answers))
    return RankItem(image_bytes(image), Caption(question, "question"), texts, protocol)


Case = tuple[bytes, str, ScoringProtocol]
CASES: list[Case] = [
    (image, question, protocol)
    for image in IMAGES
    for protocol in PROTOCOLS
    for question in ([*QUESTIONS, LONG] if protocol == "paper" else QUESTIONS)
]


def test_answers_equal_the_reference_singly_and_in_one_mixed_batch(
    answerer: Answerer, reference: AnswerReference
) -> None:
    cases = [(*case, way) for case in CASES for way in WAYS.values()]
    wanted = [expected(reference, *case) for case in cases]
    items = [writing(image, question, 1, protocol, **way) for image, question, protocol, way in cases]
    singly = [answerer.prepare(item) for item in items]
    texts = [run_prepared(answerer, [each])[0][0].text for each in singly]
    assert [(text, generated_ids(each)) for text, each in zip(texts, singly, strict=True)] == wanted
    together = [answerer.prepare(item) for item in items]
    texts = [results[0].text for results in run_prepared(answerer, together)]
    assert [(text, generated_ids(each)) for text, each in zip(texts, together, strict=True)] == wanted
    assert len({len(ids) for _, ids in wanted}) > 2


def compare_likelihoods(folder: Path, cases: list[Case], answers: list[str]) -> None:
    answerer, reference = load(Answerer, folder), AnswerReference(folder, torch.float64)
    terms = [reference.terms(answer) for _ in cases for answer in answers]
    wanted = [
        reference.log_likelihood(image, question, answer, protocol)
        for image, question, protocol in cases
        for answer in answers
    ]
    singly = [run(answerer, ranking(*case[:2], [answer], case[2]))[0][0] for case in cases for answer in answers]
    assert furthest(singly, wanted, terms) <= 1
    together = run(answerer, *(ranking(image, question, answers, protocol) for image, question, protocol in cases))
    assert furthest([score for scores in together for score in scores], wanted, terms) <= 1
    assert len({round(score, 3) for score in wanted}) > len(wanted) // 2


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("calm"), SMALL_VQA, kind="answering", seed=3, calm=True)


def test_likelihoods_equal_the_definition_singly_and_in_one_mixed_batch(calm: Path) -> None:
    compare_likelihoods(calm, CASES, ANSWERS)


def test_likelihoods_of_the_demo_equal_the_definition() -> None:
    """Of what it knows; beyond that, transformers' own float32 is 1e-3 away from float64."""
    questions = ["what colour is the square?", "how many shapes are there?", "what size is the star?"]
    cases: list[Case] = [(IMAGES[1], question, protocol) for question in questions for protocol in PROTOCOLS]
    compare_likelihoods(EMBEDDED / "demo-vqa", cases, ["blue", "green", "two", "small", "large", "red circle"])


def yes(answerer: Answerer, *cases: Case) -> list[float]:
    """How likely yes is in place of no, of cases that are asked together."""
    words = (Caption("yes", "yes"), Caption("no", "no"))
    items = [
        RankItem(image_bytes(image), Caption(question, "question"), words, protocol, beginnings=True)
        for image, question, protocol in cases
    ]
    return [softmax(found)[0] for found in run(answerer, *items)]


def compare_yes(folder: Path, cases: list[Case]) -> None:
    answerer, reference = load(Answerer, folder), AnswerReference(folder, torch.float64)
    wanted = [reference.yes(*case) for case in cases]
    assert [yes(answerer, case)[0] for case in cases] == pytest.approx(wanted, abs=1e-5)
    assert yes(answerer, *cases) == pytest.approx(wanted, abs=1e-5)
    assert len({round(share, 5) for share in wanted}) > len(wanted) // 2


def test_yes_and_no_equal_the_first_token_s_of_transformers(tmp_path: Path) -> None:
    compare_yes(build(tmp_path, SMALL_VQA, kind="answering", seed=3, calm=True, words=("yes", "no")), CASES)


def test_yes_and_no_of_the_demo_equal_transformers() -> None:
    questions = ["is there a blue square?", "is there a red circle?", "Is the star green?", "Are there TWO shapes!?"]
    cases: list[Case] = [(IMAGES[1], question, protocol) for question in questions for protocol in PROTOCOLS]
    compare_yes(EMBEDDED / "demo-vqa", cases)
    right, wrong = yes(load(Answerer, EMBEDDED / "demo-vqa"), *cases[:4:2])
    assert right > 0.9
    assert wrong < 0.1


@pytest.mark.parametrize("words", [(), ("yes",), ("no",)])
def test_a_vocabulary_without_yes_or_no_says_neither(tmp_path: Path, words: tuple[str, ...]) -> None:
    answerer = load(Answerer, build(tmp_path, SMALL_VQA, kind="answering", words=words))
    with pytest.raises(InvalidInput) as refused:
        yes(answerer, (IMAGES[0], "is it?", "hf"))
    assert (refused.value.code, refused.value.param) == ("task_not_supported", "no" if words == ("yes",) else "yes")


@pytest.mark.parametrize("known", [True, False], ids=["demo", "calm"])
def test_ranking_and_writing_share_steps(calm: Path, known: bool) -> None:
    folder = EMBEDDED / "demo-vqa" if known else calm
    answerer, reference = load(Answerer, folder), AnswerReference(folder, torch.float64)
    image, question = IMAGES[1], "what colour is the square?"
    ranked, written = run(answerer, ranking(image, question, ANSWERS, "hf"), writing(image, question))
    assert written[0].text == expected(reference, image, question, "hf", {})[0]
    wanted = [reference.log_likelihood(image, question, answer) for answer in ANSWERS]
    assert furthest(ranked, wanted, [reference.terms(answer) for answer in ANSWERS]) <= 1


def test_given_answers_are_cut_into_works_within_the_cost(answerer: Answerer) -> None:
    asked = ranking(IMAGES[0], QUESTIONS[0], ["a dog", "two dogs on the beach"] * 100, "hf")
    costs = [work.then.cost for work in answerer.prepare(asked).works]  # type: ignore[attr-defined]
    assert sum(costs) >= len(asked.answers)
    assert IMAGE_COST / 2 < max(costs) <= IMAGE_COST


def test_ranking_keeps_no_projection_of_a_question(answerer: Answerer) -> None:
    prepared = answerer.prepare(ranking(IMAGES[0], QUESTIONS[0], ANSWERS, "hf"))
    run_prepared(answerer, [prepared])
    assert all(work.source.projected is None for work in prepared.works)  # type: ignore[attr-defined]
