"""What a request is counted as: the tokens of its images, its texts, and what was generated for it."""

from collections.abc import Iterable
from dataclasses import dataclass

from blip_serve.domain import Prepared


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request: an image counts its vision tokens once, a text its own; `cached` needed no encoding."""

    image_tokens: int
    text_tokens: int
    cached_tokens: int
    generated_tokens: int = 0

    @property
    def given(self) -> int:
        """Those of the request."""
        return self.image_tokens + self.text_tokens

    @property
    def total(self) -> int:
        """All of them."""
        return self.given + self.generated_tokens


def usage_of(images: Iterable[tuple[str, Prepared]], text_tokens: int, generated_tokens: int = 0) -> Usage:
    """Counts `images`, each with its digest, once a digest: cached where it was so each time it was met."""
    once: dict[str, Prepared] = {}
    for digest, prepared in images:
        least = once.setdefault(digest, prepared)
        once[digest] = min(least, prepared, key=lambda met: met.cached_tokens)
    return Usage(
        image_tokens=sum(prepared.image_tokens for prepared in once.values()),
        text_tokens=text_tokens,
        cached_tokens=sum(prepared.cached_tokens for prepared in once.values()),
        generated_tokens=generated_tokens,
    )
