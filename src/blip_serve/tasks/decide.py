"""Answers questions about an image with probabilities, from match scores or from likelihoods.

Knows no HTTP and no tensors.
"""

from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from blip_serve.domain import (
    Caller,
    Caption,
    ImageBytes,
    MatchItem,
    MatchScores,
    Prepared,
    RankItem,
    ScoringProtocol,
    Task,
    request_cost,
)
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings
from blip_serve.tasks.inputs import check_distinct
from blip_serve.tasks.questions import (
    Answer,
    PredicateQuestion,
    Question,
    answer_of,
    captions_of,
    check_questions,
    softmax,
)
from blip_serve.tasks.request import Request, Result, Usage, usage_of
from blip_serve.tasks.session import Session, Sessions, all_of

YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class DecideRequest(Request["DecideResult"]):
    """1 to 400 questions about one image."""

    needs: ClassVar[tuple[Task, ...]] = ("match", "answer")

    image: ImageSource
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class DecideResult(Result):
    """The answers, in the questions' order."""

    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """For each question the numbers that `answer_of` takes."""

    of_questions: list[list[float]]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Ranked:
    """The log-likelihoods of one question's answers, and the tokens counted for the question."""

    likelihoods: list[float]
    text_tokens: int
    cached_tokens: int


async def decide(request: DecideRequest, caller: Caller, sessions: Sessions) -> DecideResult:
    """Answers the request's questions. Raises `ServiceError`s that name the request's fields."""
    captions = check_questions(request.questions, sessions.limits)
    async with sessions.open(request, caller, request_cost(1, captions)) as session:
        if "match" in session.lease.model.tasks:
            numbers = await _match(session, request, sessions.limits)
        else:
            numbers = await _rank(session, request)
        answers = map(answer_of, request.questions, numbers.of_questions)
        return DecideResult(tuple(answers), **session.served(numbers.usage))


async def _match(session: Session, request: DecideRequest, limits: LimitSettings) -> Numbers:
    """Match probabilities of statements and log-odds of options. Scores each distinct caption once."""
    captions = [captions_of(question, limits) for question in request.questions]
    image = await session.load(request.image)
    unique: dict[str, Caption] = {}
    for caption in chain.from_iterable(captions):
        unique.setdefault(caption.text, caption)
    item = MatchItem(image, tuple(unique.values()), session.protocol, frozenset({"itm"}))
    started = await session.start(item)
    prepared = started.prepared
    index = {text: i for i, text in enumerate(unique)}
    for group in captions:
        check_distinct([(index[caption.text], caption) for caption in group], prepared)
    scores = dict(zip(unique, await started.results(), strict=True))
    tokens = dict(zip(unique, prepared.text_tokens, strict=True))
    return Numbers(
        [
            [_number(question, scores[caption.text]) for caption in group]
            for question, group in zip(request.questions, captions, strict=True)
        ],
        usage_of([(image.digest, prepared)], sum(tokens[caption.text] for caption in chain.from_iterable(captions))),
    )


async def _rank(session: Session, request: DecideRequest) -> Numbers:
    """Log-likelihoods of the options. The questions run concurrently, so the image is encoded once."""
    image = await session.load(request.image)
    kept: list[
        Prepared
    ] = []  # only the first: it keeps the encoded image, and the others would keep every question's works

    async def rank(question: Question) -> Ranked:
        item = _ranking(question, image, session.protocol)
        started = await session.start(item)
        prepared = started.prepared
        check_distinct(enumerate(item.answers, 1), prepared)
        kept.extend([] if kept else [prepared])
        given = prepared.text_tokens[:1] if item.beginnings else prepared.text_tokens
        return Ranked(await started.results(), sum(given), prepared.cached_tokens)

    ranked = await all_of([rank(question) for question in request.questions])
    usage = Usage(
        image_tokens=kept[0].image_tokens,
        text_tokens=sum(each.text_tokens for each in ranked),
        cached_tokens=min(each.cached_tokens for each in ranked),
    )
    return Numbers([_shares(*each) for each in zip(request.questions, ranked, strict=True)], usage)


def _ranking(question: Question, image: ImageBytes, protocol: ScoringProtocol) -> RankItem:
    """The item for an answering model. For a predicate: how likely an answer begins with yes, and with no.

    Source: Karine-Huang/T2I-CompBench:BLIPvqa_eval/models/blip_vqa.py:vqa_prob (protocol `paper`, at 480 pixels).
    """
    if isinstance(question, PredicateQuestion):
        words = tuple(Caption(word, f"{question.param}.type") for word in YES_NO)
        return RankItem(image, question.statement, words, protocol, beginnings=True)
    return RankItem(image, question.instructions, tuple(option.text for option in question.options), protocol)


def _shares(question: Question, ranked: Ranked) -> list[float]:
    return [softmax(ranked.likelihoods)[0]] if isinstance(question, PredicateQuestion) else ranked.likelihoods


def _number(question: Question, score: MatchScores) -> float:
    assert score.itm_score is not None
    assert score.itm_logits is not None
    no_match, match = score.itm_logits
    return score.itm_score if isinstance(question, PredicateQuestion) else match - no_match
