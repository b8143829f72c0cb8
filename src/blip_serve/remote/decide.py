"""`POST /v1/decisions`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from blip_serve.remote.answers import Answer, Number, ResponseUsage
from blip_serve.remote.call import Body, Call, WrongShape, renamed
from blip_serve.remote.images import address_of
from blip_serve.tasks import questions
from blip_serve.tasks.decide import DecideRequest, DecideResult
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.questions import ChoiceQuestion, Option, PredicateQuestion, Question, ScoreQuestion
from blip_serve.tasks.request import Served


class Share(BaseModel):
    """An option's or a level's share of the probability."""

    value: str | bool | int
    probability: Number


class Predicate(BaseModel):
    """How likely a statement is true."""

    type: Literal["predicate"]
    probability: Number


class Choice(BaseModel):
    """The likeliest option."""

    type: Literal["choice"]
    choice: str | bool
    confidence: Number
    probabilities: list[Share]


class Score(BaseModel):
    """The expected level."""

    type: Literal["score"]
    score: Number
    confidence: Number
    probabilities: list[Share]


class DecideAnswer(Answer):
    """The answers, in the questions' order."""

    usage: ResponseUsage
    answers: list[Annotated[Predicate | Choice | Score, Field(discriminator="type")]]


def _body(request: DecideRequest) -> Body:
    image = {"type": "input_image", "image_url": address_of(request.image)}
    return {
        "input": [{"role": "user", "content": [image]}],
        "questions": [_question(question) for question in request.questions],
    }


def _question(question: Question) -> dict[str, Any]:
    match question:
        case PredicateQuestion(statement=statement):
            return {"type": "predicate", "instructions": statement.text}
        case ChoiceQuestion(_, instructions, options):
            choices = [_option("value", option.value, option) for option in options]
            return {"type": "choice", "instructions": instructions.text, "choices": choices}
        case ScoreQuestion(_, instructions, options):
            levels = [_option("label", str(option.value), option) for option in options]
            return {"type": "score", "instructions": instructions.text, "levels": levels}


def _option(key: str, value: str | bool, option: Option) -> dict[str, Any]:
    described = {} if option.description is None else {"description": option.description.text}
    return {key: value, **described}


def _rename(request: DecideRequest, param: str) -> str:
    names = {"input": request.image.param}
    for i, question in enumerate(request.questions):
        path = f"questions[{i}]"
        names[path] = question.param
        match question:
            case PredicateQuestion(statement=text):
                names[f"{path}.instructions"] = text.param
            case ChoiceQuestion(_, text, options) | ScoreQuestion(_, text, options):
                names[f"{path}.instructions"] = text.param
                kind = "choices" if isinstance(question, ChoiceQuestion) else "levels"
                names |= {f"{path}.{kind}[{j}]": option.text.param for j, option in enumerate(options)}
    return renamed(param, names)


def _images(request: DecideRequest) -> Sequence[Input]:
    return (request.image,)


def _result(request: DecideRequest, answer: DecideAnswer, served: Served) -> DecideResult:
    if len(answer.answers) != len(request.questions):
        raise WrongShape("there is not one answer for each question")
    found = [_answer(*each) for each in zip(request.questions, answer.answers, strict=True)]
    return DecideResult(tuple(found), **served)


def _answer(question: Question, answer: Predicate | Choice | Score) -> questions.Answer:
    match question, answer:
        case PredicateQuestion(), Predicate(probability=probability):
            return questions.PredicateAnswer(probability)
        case ChoiceQuestion(), Choice(choice=choice, confidence=confidence, probabilities=shares):
            return questions.ChoiceAnswer(choice, confidence, tuple(share.probability for share in shares))
        case ScoreQuestion(), Score(score=score, confidence=confidence, probabilities=shares):
            return questions.ScoreAnswer(score, confidence, tuple(share.probability for share in shares))
    raise WrongShape("an answer is of another type than its question")


DECIDE = Call("/v1/decisions", _body, _rename, _images, DecideAnswer, _result)
