"""`POST /v1/responses`: its body, and the translation to the task and back. Nothing is stored."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from blip_serve.api import generation
from blip_serve.api.endpoint import Endpoint, Others, Translation, anything, only
from blip_serve.api.generation import Ceiling, GenerationBody, generate_request
from blip_serve.api.given import of_text
from blip_serve.api.inputs import EXAMPLE_IMAGE
from blip_serve.api.messages import MAX_MESSAGES, RESPONSES, read_messages
from blip_serve.api.response_events import ResponseWriter
from blip_serve.api.response_object import ResponseObject, begun, ended, new_message, said
from blip_serve.errors import InvalidInput
from blip_serve.settings import Settings
from blip_serve.tasks.generate import GenerateRequest, GenerateResult

LOGPROBS = "message.output_text.logprobs"

OTHERS: Others = {
    **generation.OTHERS,
    **generation.VLLM,
    **dict.fromkeys(("access_programs", "max_tool_calls", "reasoning", "stream_options"), anything),
    **dict.fromkeys(("conversation", "previous_response_id", "prompt"), only(None)),
    "background": only(None, False),
    "context_management": only(None, []),
    "image": only(None, {}, {"context_compression": "auto"}, {"context_compression": "disabled"}),
    "truncation": only(None, "auto", "disabled"),
}
"""Parameters of the SDK's method, and of vLLM's, that are not read."""

Includable = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]
"""What the SDK may ask for beside the text. Only the log-probabilities exist here."""


def _items(value: Any) -> Any:
    if isinstance(value, str):
        raise InvalidInput(
            "The models need an image: give 'input' as a user's message that holds one.",
            code="unsupported_content",
            param="input",
        )
    return value


_TEXT = {
    "type": "object",
    "description": 'its `format`: text, or a `json_schema` that is one enum, `{"enum": [...]}`: '
    "the likeliest of its values, as JSON",
}


class ResponsesBody(GenerationBody):
    """An image, optionally with a text: a caption's beginning or a question, as the model has it."""

    input: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True),
        BeforeValidator(_items),
    ] = Field(description="what the user says last counts, and the most recent image; all else has no effect")
    instructions: str | None = Field(None, description="has no effect, like a system message")
    max_output_tokens: Ceiling | None = Field(
        None, description="tokens to generate at most, the end included, as far as there is room; 20 by default"
    )
    text: Annotated[Any, WithJsonSchema(_TEXT)] = None
    include: Annotated[list[Includable], Field(max_length=100, fail_fast=True)] | None = Field(
        None, description="`message.output_text.logprobs` gives the log-probability of each token"
    )


_EXAMPLE = {
    "model": "demo-vqa",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": EXAMPLE_IMAGE},
                {"type": "input_text", "text": "what colour is the circle?"},
            ],
        }
    ],
}


def _translate(body: ResponsesBody, settings: Settings) -> Translation[GenerateRequest, GenerateResult]:
    image, text = read_messages(body.input, RESPONSES, settings.chat.history)
    request = generate_request(
        body,
        image,
        text,
        max_tokens=(body.max_output_tokens, "max_output_tokens"),
        logprobs=(LOGPROBS in (body.include or ()), "include"),
        texts=(of_text(body.text), "text"),
    )
    response = begun(request, body.instructions, (body.text or {}).get("format"))
    return Translation(request, partial(_answer, response), ResponseWriter(response) if body.stream else None)


def _answer(response: ResponseObject, result: GenerateResult) -> ResponseObject:
    return ended(response, said(new_message(), result.texts[0]), result)


ENDPOINT = Endpoint(
    name="responses",
    paths={"/v1/responses": "Caption an image, or answer a question about it, through the Responses interface"},
    description="A text from an image, whole or as it is generated. Nothing is stored.",
    body=ResponsesBody,
    others=OTHERS,
    translate=_translate,
    response=ResponseObject,
    example=_EXAMPLE,
    streams=True,
    nulls=True,
)
