"""The works of a retrieval checkpoint: items cut into pieces of like length and bounded cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from blip_serve.domain import EmbedItem, ExplainItem, MatchItem, ScoreName, ScoringProtocol, Work, caption_cost
from blip_serve.models.image_cache import TOKENS, ImageState, Need
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.text_batches import MAX_TEXTS_COST, cut

SCORE, EMBED = "score", "embed"
"""The phases after `encode`: scores of an image and captions, or the vector of an image or a text."""

VECTOR: frozenset[Need] = frozenset({"vector"})
NEEDS: dict[ScoreName, Need] = {"itm": "tokens", "cosine": "vector"}
"""What each score reads of the image."""


def needs_of(item: MatchItem | EmbedItem | ExplainItem) -> frozenset[Need]:
    """What an item reads of its image."""
    if isinstance(item, MatchItem):
        return frozenset(NEEDS[score] for score in item.scores)
    return VECTOR if isinstance(item, EmbedItem) else TOKENS


@dataclass(eq=False, slots=True, weakref_slot=True)
class TextState:
    """A text's ids `[CLS] ... [SEP]`, and its unit vector once computed. Shared by all works on the text."""

    ids: tuple[int, ...]
    vector: Tensor | None = None


NumberedText = tuple[int, TextState]
"""A caption and its index in its item."""


@dataclass(eq=False, slots=True, kw_only=True)
class MatchWork(ImageWork):
    """One image and some of its item's captions. It does not keep the item, and with it the image's file, in memory."""

    texts: tuple[NumberedText, ...]
    protocol: ScoringProtocol
    scores: frozenset[ScoreName]


@dataclass(eq=False, slots=True, kw_only=True)
class EmbedTextWork(Work):
    """One text to become a vector. An image to become one is a plain `ImageWork`."""

    text: TextState


def match_works(item: MatchItem, image: ImageState, texts: Sequence[TextState], projection: int) -> list[MatchWork]:
    """Works that are together the item. `projection`: the cost of projecting the image, which `itm` needs.

    A score costs a pass of the text tower.
    """
    costs = [len(item.scores) * caption_cost(len(text.ids)) for text in texts]
    projection = projection if "itm" in item.scores else 0
    return [
        MatchWork(
            phase=SCORE,
            cost=projection + sum(costs[i] for i in piece),
            length=len(texts[piece[-1]].ids),
            image=image,
            needs=needs_of(item),
            texts=tuple((i, texts[i]) for i in piece),
            protocol=item.protocol,
            scores=item.scores,
        )
        for piece in cut([len(text.ids) for text in texts], costs, MAX_TEXTS_COST - projection)
    ]


def embed_image_work(image: ImageState) -> ImageWork:
    """The work of an image to become a vector."""
    return ImageWork(phase=EMBED, cost=1, image=image, needs=VECTOR)


def embed_text_work(text: TextState) -> EmbedTextWork:
    """The work of a text to become a vector."""
    return EmbedTextWork(phase=EMBED, cost=caption_cost(len(text.ids)), length=len(text.ids), text=text)
