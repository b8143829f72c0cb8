"""What the answers of several endpoints share: usage, timings in a header, the response itself."""

from fastapi import Response
from pydantic import BaseModel, Field

from blip_serve.api.timing import server_timing
from blip_serve.tasks.session import Timings
from blip_serve.tasks.usage import Usage


class PromptTokensDetails(BaseModel):
    """Of the prompt tokens."""

    cached_tokens: int = Field(description="image tokens that the image cache saved")
    image_tokens: int


class InputUsage(BaseModel):
    """Tokens of the request: an image counts its vision tokens once, a text its own."""

    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


def input_usage(usage: Usage) -> InputUsage:
    """The usage of a request that generates nothing."""
    details = PromptTokensDetails(cached_tokens=usage.cached_tokens, image_tokens=usage.image_tokens)
    return InputUsage(prompt_tokens=usage.given, total_tokens=usage.total, prompt_tokens_details=details)


def timed(answer: BaseModel, timings: Timings) -> Response:
    """`answer` as JSON, less what is `None`, and where the time went in `server-timing`, in milliseconds."""
    content = answer.model_dump_json(exclude_none=True)
    return Response(content, media_type="application/json", headers=server_timing(timings))
