"""The answers of `POST /v1/decisions`: their types, and the translation from the task's."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from blip_serve.api.usage import ResponseUsage, response_usage
from blip_serve.domain import ScoringProtocol
from blip_serve.tasks.decide import DecideResult
from blip_serve.tasks.questions import Answer, ChoiceAnswer, ChoiceQuestion, PredicateAnswer, Question, ScoreQuestion


class DecisionPredicate(BaseModel):
    """How likely a statement is true."""

    type: Literal["predicate"] = "predicate"
    name: str | None
    probability: float = Field(description="0..1")


class DecisionChoiceProbability(BaseModel):
    """An option's share of the probability."""

    value: str | bool
    probability: float


class DecisionChoice(BaseModel):
    """The likeliest option."""

    type: Literal["choice"] = "choice"
    name: str | None
    choice: str | bool
    confidence: float = Field(description="its probability")
    probabilities: list[DecisionChoiceProbability]


class DecisionScoreProbability(BaseModel):
    """A level's share of the probability."""

    label: str
    value: int = Field(description="levels are numbered from 0")
    probability: float


class DecisionScore(BaseModel):
    """The expected level."""

    type: Literal["score"] = "score"
    name: str | None
    score: float
    confidence: float = Field(description="the largest probability")
    probabilities: list[DecisionScoreProbability]


DecisionAnswer = Annotated[DecisionPredicate | DecisionChoice | DecisionScore, Field(discriminator="type")]


class Decision(BaseModel):
    """The answers, in the questions' order."""

    model: str
    protocol: ScoringProtocol
    answers: list[DecisionAnswer]
    usage: ResponseUsage


def decision(result: DecideResult, names: list[str | None], questions: tuple[Question, ...]) -> Decision:
    """The response to `questions`, which have `names`."""
    return Decision(
        model=result.model,
        protocol=result.protocol,
        answers=[_answer(*each) for each in zip(names, questions, result.answers, strict=True)],
        usage=response_usage(result.usage),
    )


def _answer(name: str | None, question: Question, answer: Answer) -> DecisionAnswer:
    if isinstance(answer, PredicateAnswer):
        return DecisionPredicate(name=name, probability=answer.probability)
    assert isinstance(question, ChoiceQuestion | ScoreQuestion)
    options = zip(question.options, answer.probabilities, strict=True)
    if isinstance(answer, ChoiceAnswer):
        shares = [DecisionChoiceProbability(value=option.value, probability=share) for option, share in options]
        return DecisionChoice(name=name, choice=answer.choice, confidence=answer.confidence, probabilities=shares)
    levels = [
        DecisionScoreProbability(label=str(option.value), value=number, probability=share)
        for number, (option, share) in enumerate(options)
    ]
    return DecisionScore(name=name, score=answer.score, confidence=answer.confidence, probabilities=levels)
