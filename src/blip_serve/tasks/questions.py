"""What may be asked of an image, and the answers that a model's numbers amount to. Knows no model and no HTTP."""

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
PLACE = "{}"
"""Where a caption takes an option's words, in the instructions."""


@dataclass(frozen=True, slots=True)
class Option:
    """One of what is decided between; `param` is the request's field of its value."""

    value: str | bool
    param: str
    description: Caption | None = None

    @property
    def text(self) -> Caption:
        """How it is put into words: its description if it has one, else its value, `True` as `true`."""
        value = self.value
        return self.description or Caption(value if isinstance(value, str) else str(value).lower(), self.param)


@dataclass(frozen=True, slots=True)
class Predicate:
    """Is the statement true of the image, or the answer to it yes? `param` is the request's field of the question."""

    param: str
    statement: Caption


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of 2 to 255 options of different values fits the image? `True` and `"true"` are different."""

    param: str
    instructions: Caption
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Which of 2 to 10 levels, lowest first, fits the image?"""

    param: str
    instructions: Caption
    options: tuple[Option, ...]


Question = Predicate | Choice | Score


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
    captions = sum(1 if isinstance(question, Predicate) else len(question.options) for question in questions)
    check_captions(captions, limits)
    for question in questions:
        match question:
            case Predicate(statement=text):
                check_text(text, limits)
            case Choice(param, instructions, options):
                check_text(instructions, limits)
                _check_options(f"{param}.choices", "choices", options, MAX_CHOICES, limits)
            case Score(param, instructions, levels):
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

    An option's words stand in the place of `{}` in the instructions, or alone where these hold none. Raises
    `InvalidInput` naming the option whose caption gets too long.
    """
    match question:
        case Predicate(statement=statement):
            return (statement,)
        case Choice(_, instructions, options) | Score(_, instructions, options):
            return tuple(_filled(instructions.text, option.text, limits.max_caption_chars) for option in options)


def _filled(template: str, words: Caption, most: int) -> Caption:
    places = template.count(PLACE)
    if not places:
        return words
    length = len(template) + places * (len(words.text) - len(PLACE))
    if length > most:  # known before it is made: a short template has room for thousands of long words
        raise InvalidInput(
            f"The caption would have {length} characters; the limit is {most}.",
            code="input_too_long",
            param=words.param,
        )
    return Caption(template.replace(PLACE, words.text), words.param)


def answer_of(question: Question, numbers: Sequence[float]) -> Answer:
    """The answer that `numbers` amount to: of a predicate its probability, else a log-odds or log-likelihood an option.

    Options share the probability by the softmax of these.
    """
    if isinstance(question, Predicate):
        return PredicateAnswer(*numbers)
    probabilities = softmax(numbers)
    confidence = max(probabilities)
    if isinstance(question, Choice):
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
