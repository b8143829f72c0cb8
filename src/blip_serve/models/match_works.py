"""The works of image-text matching: an item cut into pieces of like length and bounded cost. Knows no device."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from blip_serve.domain import IMAGE_COST, PROJECTION_COST, MatchItem, Score, Work
from blip_serve.models.image_cache import ImageState
from blip_serve.settings import caption_cost

ENCODE, SCORE = "encode", "score"
"""The phases: pixels to image state, skipped where the state is known; then image state and captions to scores."""

WAIT_COST = 1
"""Cost of a work whose image another work of its item encodes."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class TextState:
    """One caption's ids `[CLS] ... [SEP]`, shared by all works on it, and its unit vector once computed."""

    ids: tuple[int, ...]
    vector: Tensor | None = None


NumberedText = tuple[int, TextState]
"""A caption and its position in its item."""


@dataclass(eq=False, slots=True, kw_only=True)
class MatchWork(Work):
    """One image and some of its item's captions."""

    image: ImageState
    texts: tuple[NumberedText, ...]
    item: MatchItem

    @property
    def scores(self) -> frozenset[Score]:
        """What is asked of it."""
        return self.item.scores


def cut(
    item: MatchItem, image: ImageState, texts: Sequence[TextState], cached: bool, limit: int
) -> tuple[MatchWork, ...]:
    """Works that are together the item, each of a cost within `limit` unless one caption alone is over it."""
    return tuple(
        MatchWork(
            phase=SCORE if cached else ENCODE,
            cost=score_cost(piece, item.scores) if cached else WAIT_COST if i else IMAGE_COST,
            length=len(piece[-1][1].ids),
            image=image,
            texts=tuple(piece),
            item=item,
        )
        for i, piece in enumerate(_pieces(texts, item.scores, limit))
    )


def score_cost(texts: Sequence[NumberedText], scores: frozenset[Score]) -> int:
    """Cost of scoring captions of one image: a pass of the text tower a score, and the image's projections for ITM."""
    passes = len(scores) * sum(caption_cost(len(text.ids)) for _, text in texts)
    return passes + (PROJECTION_COST if "itm" in scores else 0)


def _pieces(texts: Sequence[TextState], scores: frozenset[Score], limit: int) -> list[list[NumberedText]]:
    """The captions by length, a new piece begun where the last one is full."""
    pieces: list[list[NumberedText]] = [[]]
    room = limit
    for numbered in sorted(enumerate(texts), key=lambda numbered: len(numbered[1].ids)):
        cost = len(scores) * caption_cost(len(numbered[1].ids))
        if pieces[-1] and cost > room - PROJECTION_COST:
            pieces.append([])
            room = limit
        pieces[-1].append(numbered)
        room -= cost
    return pieces
