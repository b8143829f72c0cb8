"""The tokens of a request, in the shapes that several endpoints share."""

from pydantic import BaseModel, Field

from blip_serve.tasks.request import Usage


class PromptTokensDetails(BaseModel):
    """Of the prompt tokens."""

    cached_tokens: int = Field(description="image tokens that this caller's earlier requests saved")
    image_tokens: int


class InputUsage(BaseModel):
    """Tokens of a request that generates nothing: an image counts its vision tokens once, a text its own."""

    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class CompletionUsage(BaseModel):
    """Tokens of the request, an image counting its vision tokens, and of all that was generated, ends included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class InputTokensDetails(PromptTokensDetails):
    """Of the input tokens."""

    cache_write_tokens: int = 0


class OutputTokensDetails(BaseModel):
    """Of the output tokens."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """`CompletionUsage` in the words of the Responses interface."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


def prompt_details(usage: Usage) -> PromptTokensDetails:
    """A task's usage as the prompt's tokens in detail."""
    return PromptTokensDetails(cached_tokens=usage.cached_tokens, image_tokens=usage.image_tokens)


def input_usage(usage: Usage) -> InputUsage:
    """A task's usage as the usage of a request that generates nothing."""
    return InputUsage(prompt_tokens=usage.given, total_tokens=usage.total, prompt_tokens_details=prompt_details(usage))


def completion_usage(usage: Usage) -> CompletionUsage:
    """A task's usage as chat's usage."""
    return CompletionUsage(
        prompt_tokens=usage.given,
        completion_tokens=usage.generated_tokens,
        total_tokens=usage.total,
        prompt_tokens_details=prompt_details(usage),
    )


def response_usage(usage: Usage) -> ResponseUsage:
    """A task's usage as the usage of the Responses interface."""
    return ResponseUsage(
        input_tokens=usage.given,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens, image_tokens=usage.image_tokens),
        output_tokens=usage.generated_tokens,
        total_tokens=usage.total,
    )
