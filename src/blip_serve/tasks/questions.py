"""The questions that `decide` takes, and how a model's numbers become answers. Knows no model and no HTTP."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.settings import LimitSettings
from blip_serve.tasks.inputs import check_text

MAX_QUESTIONS = 400
MIN_OPTIONS = 2
MAX_CHOICES = 255
MAX_LEVELS = 10
GAP = "{}"
"""The instructions' gap that an option's words fill."""


@dataclass(frozen=True, slots=True)
class Option:
    """One of what is decided between; `param` is the request's field of its value."""

    value: str | bool
    param: str
    description: Caption | None = None

    @property
    def text(self) -> Caption:
        """Its words: its description if it has one, else its value, `True` as `true`."""
        value = self.value
        return self.description or Caption(value if isinstance(value, str) else str(value).lower(), self.param)


@dataclass(frozen=True, slots=True)
class PredicateQuestion:
    """Is the statement true of the image, or the answer to it yes? `param` is the request's field of the question."""

    param: str
    statement: Caption


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """Which of 2 to 255 options of different values fits the image? `True` and `"true"` are different."""

    param: str
    instructions: Caption
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class ScoreQuestion:
    """Which of 2 to 10 levels, lowest first, fits the image?"""

    param: str
    instructions: Caption
    options: tuple[Option, ...]


Question = PredicateQuestion | ChoiceQuestion | ScoreQuestion


def predicate(statement: str) -> PredicateQuestion:
    """Is the statement true of the image? For a model that answers questions: is the answer to it yes?"""
    return PredicateQuestion("questions", Caption(statement, "statement"))


def choice(instructions: str, choices: Sequence[str]) -> ChoiceQuestion:
    """Which of the choices fits the image? Each choice in turn fills the `{}` of the instructions."""
    return ChoiceQuestion("questions", Caption(instructions, "instructions"), _options("choices", choices))


def scale(instructions: str, levels: Sequence[str]) -> ScoreQuestion:
    """Which level, lowest first, fits the image? Each level in turn fills the `{}` of the instructions."""
    return ScoreQuestion("questions", Caption(instructions, "instructions"), _options("levels", levels))


def _options(name: str, values: Sequence[str]) -> tuple[Option, ...]:
    return tuple(Option(value, f"{name}[{i}]") for i, value in enumerate(values))


@dataclass(frozen=True, slots=True)
class PredicateAnswer:
    """Probability that the statement is true, or of yes in place of no."""

    probability: float


@dataclass(frozen=True, slots=True)
class ChoiceAnswer:
    """The likeliest value, the first of those equally likely; `probabilities` of all, in the options' order."""

    choice: str | bool
    confidence: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ScoreAnswer:
    """The expected level, counted from 0; `confidence` is the largest of the levels' `probabilities`."""

    score: float
    confidence: float
    probabilities: tuple[float, ...]


Answer = PredicateAnswer | ChoiceAnswer | ScoreAnswer


def check_captions(count: int, limits: LimitSettings) -> None:
    """Raises `InvalidInput` for more captions than a request may have, on one image; a face may ask before it reads."""
    limit = min(limits.max_captions, limits.max_pairs)
    if count > limit:
        raise InvalidInput(
            f"The questions make {count} captions; the limit is {limit} a request.",
            code="too_many_captions",
            param="questions",
        )


def check_questions(questions: Sequence[Question], limits: LimitSettings) -> int:
    """How many captions they make. Raises `InvalidInput` naming the field for what cannot be asked."""
    _check_count("questions", "questions", len(questions), 1, MAX_QUESTIONS)
    captions = sum(1 if isinstance(question, PredicateQuestion) else len(question.options) for question in questions)
    check_captions(captions, limits)
    for question in questions:
        match question:
            case PredicateQuestion(statement=text):
                check_text(text, limits)
            case ChoiceQuestion(param, instructions, options):
                check_text(instructions, limits)
                _check_options(f"{param}.choices", "choices", options, MAX_CHOICES, limits)
            case ScoreQuestion(param, instructions, levels):
                check_text(instructions, limits)
                _check_options(f"{param}.levels", "levels", levels, MAX_LEVELS, limits)
    return captions


def _check_options(param: str, name: str, options: Sequence[Option], most: int, limits: LimitSettings) -> None:
    _check_count(param, name, len(options), MIN_OPTIONS, most)
    met: set[str | bool] = set()
    for option in options:
        check_text(option.text, limits)
        if option.value in met:
            raise InvalidInput(f"'{option.param}' was given before.", code="duplicate_value", param=option.param)
        met.add(option.value)


def _check_count(param: str, name: str, count: int, least: int, most: int) -> None:
    if not least <= count <= most:
        code = f"too_many_{name}" if count > most else "invalid_value"
        raise InvalidInput(f"'{param}' has {count} entries; give {least} to {most}.", code=code, param=param)


def captions_of(question: Question, limits: LimitSettings) -> tuple[Caption, ...]:
    """The captions to be matched with the image: the statement, or one an option.

    An option's words fill the `{}` of the instructions, or stand alone where there is no `{}`. Raises
    `InvalidInput` naming the option whose caption gets too long.
    """
    match question:
        case PredicateQuestion(statement=statement):
            return (statement,)
        case ChoiceQuestion(_, instructions, options) | ScoreQuestion(_, instructions, options):
            return tuple(_filled(instructions.text, option.text, limits.max_caption_chars) for option in options)


def _filled(template: str, words: Caption, most: int) -> Caption:
    gaps = template.count(GAP)
    if not gaps:
        return words
    length = len(template) + gaps * (len(words.text) - len(GAP))
    if length > most:  # known before it is made: a short template has room for thousands of long words
        raise InvalidInput(
            f"The caption would have {length} characters; the limit is {most}.",
            code="input_too_long",
            param=words.param,
        )
    return Caption(template.replace(GAP, words.text), words.param)


def answer_of(question: Question, numbers: Sequence[float]) -> Answer:
    """The answer for `numbers`: a predicate's probability, or a log-odds or log-likelihood for each option.

    The options' probabilities are the softmax of these.
    """
    if isinstance(question, PredicateQuestion):
        return PredicateAnswer(*numbers)
    probabilities = softmax(numbers)
    confidence = max(probabilities)
    if isinstance(question, ChoiceQuestion):
        likeliest = question.options[probabilities.index(confidence)]
        return ChoiceAnswer(likeliest.value, confidence, probabilities)
    expected = math.fsum(level * probability for level, probability in enumerate(probabilities))
    return ScoreAnswer(expected, confidence, probabilities)


def softmax(numbers: Sequence[float]) -> tuple[float, ...]:
    """Probabilities in proportion to the exponentials of `numbers`, which may be of any size."""
    largest = max(numbers)
    powers = [math.exp(number - largest) for number in numbers]
    total = math.fsum(powers)
    return tuple(power / total for power in powers)
