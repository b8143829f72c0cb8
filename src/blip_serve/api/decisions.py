"""`POST /v1/decisions`: its body, and the translation to the task and back, less its questions and its answers."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from blip_serve.api.body import validated
from blip_serve.api.decision_answers import Decision, decision
from blip_serve.api.decision_questions import Questions, read_questions
from blip_serve.api.endpoint import STRICT, Body, Endpoint, Others, Translation, anything
from blip_serve.api.inputs import EXAMPLE_IMAGE, read_content
from blip_serve.domain import Caption, ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import HARD_LIMIT, Settings
from blip_serve.tasks.decide import DecideRequest, DecideResult

OTHERS: Others = {"prompt_cache_key": anything, "prompt_cache_options": anything, "safety_identifier": anything}
"""The SDK's other parameters. None of them changes an answer."""

UNREAD_ROLES = ("system", "developer", "assistant", "tool", "function")


class Message(BaseModel):
    """A user message that holds the image."""

    model_config = STRICT

    type: Literal["message"] = "message"
    role: Literal["user"]
    content: Annotated[
        Any,
        WithJsonSchema(
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"type": {"enum": ["input_image"]}, "image_url": {"type": "string"}},
                    "required": ["type", "image_url"],
                },
            }
        ),
    ]


class DecisionsBody(Body):
    """An image and questions about it."""

    input: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [Message.model_json_schema(), {"type": "array", "items": Message.model_json_schema()}],
                "description": "holds exactly one image, and nothing else: the models read no text beside it",
            }
        ),
    ]
    questions: Questions
    protocol: ScoringProtocol | None = Field(
        None, description="`hf` (the model cards' code) or `paper`; see the README"
    )


_EXAMPLE = {
    "input": [
        {"role": "user", "content": [{"type": "input_image", "image_url": EXAMPLE_IMAGE}]},
    ],
    "questions": [
        {"type": "predicate", "name": "red", "instructions": "a red circle"},
        {
            "type": "choice",
            "instructions": "a red {}",
            "choices": [{"value": "circle"}, {"value": "square"}, {"value": "other", "description": "star"}],
        },
        {"type": "score", "instructions": "a {} red circle", "levels": [{"label": "small"}, {"label": "large"}]},
    ],
}


def _translate(body: DecisionsBody, settings: Settings) -> Translation[DecideRequest, DecideResult]:
    image = _read_image(body.input)
    named = read_questions(body.questions, settings.limits)
    questions = tuple(question for _, question in named)
    request = DecideRequest(
        image,
        questions,
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
    return Translation(request, partial(decision, names=[name for name, _ in named], questions=questions))


def _read_image(given: Any) -> ImageSource:
    """The one image of the input. Raises `InvalidInput` for no image, several, or anything else beside it."""
    if isinstance(given, str):
        raise _unreadable("input")
    if not isinstance(given, list | dict):
        raise InvalidInput("'input' must be an array of messages, or one.", code="invalid_type", param="input")
    if len(given) > HARD_LIMIT:
        raise InvalidInput("'input' has too many messages.", code="too_many_messages", param="input")
    items = [("input", given)] if isinstance(given, dict) else [(f"input[{i}]", item) for i, item in enumerate(given)]
    images: list[ImageSource] = []
    for path, item in items:
        images += _images(item, path)
        if len(images) > 1:
            raise InvalidInput("One image can be asked about.", code="too_many_images", param=images[1].param)
    if not images:
        raise InvalidInput("'input' holds no image.", code="missing_required_parameter", param="input")
    return images[0]


def _images(item: Any, path: str) -> list[ImageSource]:
    """A user message's images."""
    if not isinstance(item, dict):
        raise InvalidInput(f"'{path}' must be a message.", code="invalid_type", param=path)
    if item.get("type", "message") != "message" or item.get("role") in UNREAD_ROLES:
        raise _unreadable(path)
    images = []
    for part in read_content(validated(Message, item, at=path).content, f"{path}.content"):
        if isinstance(part, Caption):
            raise _unreadable(part.param)
        images.append(part)
    return images


def _unreadable(param: str) -> InvalidInput:
    return InvalidInput(
        f"The models cannot read '{param}': the input is one image in a user message; ask in the questions.",
        code="unsupported_content",
        param=param,
    )


ENDPOINT = Endpoint(
    name="decisions",
    paths={"/v1/decisions": "Answer typed questions about an image"},
    description="Predicates, choices and scores with their probabilities.",
    body=DecisionsBody,
    others=OTHERS,
    translate=_translate,
    response=Decision,
    example=_EXAMPLE,
    nulls=True,
)
