"""The questions of `POST /v1/decisions`: their types, and the translation to the task's."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from blip_serve.api.body import validated
from blip_serve.api.endpoint import STRICT
from blip_serve.api.inputs import read_content
from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings
from blip_serve.tasks.questions import (
    MAX_CHOICES,
    MAX_LEVELS,
    MAX_QUESTIONS,
    MIN_OPTIONS,
    ChoiceQuestion,
    Option,
    PredicateQuestion,
    Question,
    ScoreQuestion,
    check_captions,
)


def _string_or_boolean(value: Any) -> str | bool:
    if not isinstance(value, str | bool):
        raise PydanticCustomError("value_type", "a value is a string or a boolean")
    return value


def _array(least: int, most: int, *items: type[BaseModel]) -> WithJsonSchema:
    """The schema of an array whose entries are read one by one: pydantic's unions put their tags into the paths."""
    schemas = [item.model_json_schema() for item in items]
    one = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    return WithJsonSchema({"type": "array", "minItems": least, "maxItems": most, "items": one})


class TextPart(BaseModel):
    """A text."""

    type: Literal["input_text"]
    text: str


class ChoiceOption(BaseModel):
    """What can be chosen."""

    model_config = STRICT

    value: Annotated[
        str | bool,
        PlainValidator(_string_or_boolean),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "boolean"}]}),
    ]
    description: str | None = Field(None, description="what the model reads instead of the value")


class ScoreLevel(BaseModel):
    """A level of a scale."""

    model_config = STRICT

    label: str
    description: str | None = Field(None, description="what the model reads instead of the label")


class QuestionBody(BaseModel):
    """What all questions have."""

    model_config = STRICT

    type: Literal["predicate", "choice", "score"]
    name: str | None = Field(None, description="echoed in the answer")
    instructions: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [{"type": "string"}, {"type": "array", "items": TextPart.model_json_schema()}],
                "description": "a predicate's statement; for a model that matches captions, the caption whose `{}` "
                "takes each option's words (without `{}` these stand alone); else the question",
            }
        ),
    ]

    @property
    def captions(self) -> int:
        """How many captions it makes."""
        return 1


class PredicateBody(QuestionBody):
    """Whether a statement about the image is true."""

    model_config = ConfigDict(title="PredicateQuestion")

    type: Literal["predicate"]


class ChoiceBody(QuestionBody):
    """Which option fits the image."""

    model_config = ConfigDict(title="ChoiceQuestion")

    type: Literal["choice"]
    choices: Annotated[list[Any], _array(MIN_OPTIONS, MAX_CHOICES, ChoiceOption)]

    @property
    def captions(self) -> int:
        """One for each option."""
        return len(self.choices)


class ScoreBody(QuestionBody):
    """Which level of a scale fits the image, lowest first."""

    model_config = ConfigDict(title="ScoreQuestion")

    type: Literal["score"]
    levels: Annotated[list[Any], _array(MIN_OPTIONS, MAX_LEVELS, ScoreLevel)]

    @property
    def captions(self) -> int:
        """One for each level."""
        return len(self.levels)


_KINDS: dict[object, type[QuestionBody]] = {
    "predicate": PredicateBody,
    "choice": ChoiceBody,
    "score": ScoreBody,
}

Questions = Annotated[
    list[Any], Field(min_length=1, max_length=MAX_QUESTIONS), _array(1, MAX_QUESTIONS, *_KINDS.values())
]
"""The questions of a body, not yet read."""


def read_questions(values: list[Any], limits: LimitSettings) -> list[tuple[str | None, Question]]:
    """Each question after its name. Raises `InvalidInput` naming the field at fault.

    Captions that are too many are refused before they are made.
    """
    paths = [f"questions[{i}]" for i in range(len(values))]
    bodies = [_body(value, path) for value, path in zip(values, paths, strict=True)]
    check_captions(sum(body.captions for body in bodies), limits)
    return [(body.name, _question(body, path)) for body, path in zip(bodies, paths, strict=True)]


def _body(value: Any, path: str) -> QuestionBody:
    kind = value.get("type") if isinstance(value, dict) else None
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    return validated(known or QuestionBody, value, at=path)


def _question(body: QuestionBody, path: str) -> Question:
    text = _text(body.instructions, f"{path}.instructions")
    match body:
        case ChoiceBody(choices=choices):
            return ChoiceQuestion(
                path, text, tuple(_choice(value, f"{path}.choices[{i}]") for i, value in enumerate(choices))
            )
        case ScoreBody(levels=levels):
            return ScoreQuestion(
                path, text, tuple(_level(value, f"{path}.levels[{i}]") for i, value in enumerate(levels))
            )
    return PredicateQuestion(path, text)


def _choice(value: Any, path: str) -> Option:
    body = validated(ChoiceOption, value, at=path)
    return Option(body.value, f"{path}.value", _description(body.description, path))


def _level(value: Any, path: str) -> Option:
    body = validated(ScoreLevel, value, at=path)
    return Option(body.label, f"{path}.label", _description(body.description, path))


def _description(text: str | None, path: str) -> Caption | None:
    return None if text is None else Caption(text, f"{path}.description")


def _text(content: Any, path: str) -> Caption:
    """A string, or text parts joined by spaces."""
    return Caption(" ".join(map(_words, read_content(content, path))), path)


def _words(part: Caption | ImageSource) -> str:
    if not isinstance(part, Caption):
        raise InvalidInput("A question holds text only.", code="unsupported_content", param=part.param)
    return part.text
