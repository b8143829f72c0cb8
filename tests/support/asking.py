"""Requests for texts, as the OpenAI client takes them."""

from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from openai.types.responses import ResponseInputContentParam, ResponseInputParam

from tests.support.pictures import data_uri, picture

IMAGE = data_uri(picture(1))


def chat_messages(*texts: str) -> list[ChatCompletionMessageParam]:
    """One message of the user's: the image, and texts beside it."""
    image: ChatCompletionContentPartParam = {"type": "image_url", "image_url": {"url": IMAGE}}
    words: list[ChatCompletionContentPartParam] = [{"type": "text", "text": text} for text in texts]
    return [{"role": "user", "content": [image, *words]}]


def response_input(*texts: str) -> ResponseInputParam:
    """The same for the Responses interface."""
    image: ResponseInputContentParam = {"type": "input_image", "image_url": IMAGE, "detail": "auto"}
    words: list[ResponseInputContentParam] = [{"type": "input_text", "text": text} for text in texts]
    return [{"role": "user", "content": [image, *words]}]
