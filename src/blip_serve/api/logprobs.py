"""Log-probabilities of generated tokens, as OpenAI's chat and responses show them."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from blip_serve.domain import TokenLogprob

LEAST = -9999.0
"""OpenAI's value for a token that is next to impossible; JSON has no negative infinity."""


class TopLogprob(BaseModel):
    """A token and its natural log-probability."""

    token: str
    logprob: float
    bytes: list[int] = Field(description="the token's UTF-8")


class Logprob(TopLogprob):
    """A generated token, and the likeliest in its place."""

    top_logprobs: list[TopLogprob]


def logprobs(tokens: Sequence[TokenLogprob]) -> list[Logprob]:
    """The log-probabilities of the tokens of a text, or of a piece."""
    return [
        Logprob(
            token=token.text,
            logprob=max(token.logprob, LEAST),
            bytes=list(token.text.encode()),
            top_logprobs=[_top(text, logprob) for text, logprob in token.top],
        )
        for token in tokens
    ]


def _top(text: str, logprob: float) -> TopLogprob:
    return TopLogprob(token=text, logprob=max(logprob, LEAST), bytes=list(text.encode()))
