"""The works of a retrieval checkpoint, items cut into pieces of like length and bounded cost, and their steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from blip_serve.domain import EmbedItem, MatchItem, Progress, Score, ScoringProtocol, Work
from blip_serve.models.config import Costs
from blip_serve.models.device import Pending
from blip_serve.models.image_cache import Need
from blip_serve.models.image_encoder import FoundImage, ImageWork
from blip_serve.models.text_batches import cut
from blip_serve.settings import caption_cost

SCORE, EMBED = "score", "embed"
"""The phases behind `encode`: image state and captions to scores, or image state or text to a vector."""

NEEDS: dict[Score, Need] = {"itm": "tokens", "cosine": "vector"}
"""What each score reads of the image."""


def needs_of(item: MatchItem | EmbedItem) -> frozenset[Need]:
    """What an item reads of its image."""
    return frozenset(NEEDS[score] for score in item.scores) if isinstance(item, MatchItem) else frozenset({"vector"})


@dataclass(eq=False, slots=True, weakref_slot=True)
class TextState:
    """One caption's ids `[CLS] ... [SEP]`, shared by all works on it, and its unit vector once computed."""

    ids: tuple[int, ...]
    vector: Tensor | None = None


NumberedText = tuple[int, TextState]
"""A caption and its position in its item."""


@dataclass(eq=False, slots=True, kw_only=True)
class MatchWork(ImageWork):
    """One image and some of its item's captions. It does not hold the item: the image's file is done with."""

    texts: tuple[NumberedText, ...]
    protocol: ScoringProtocol
    scores: frozenset[Score]


@dataclass(eq=False, slots=True, kw_only=True)
class EmbedTextWork(Work):
    """One text to become a vector; an image to become one is a plain `ImageWork`."""

    text: TextState


@dataclass(frozen=True, slots=True)
class Scoring:
    """A `score` step under way.

    `logits` (R, 2) of the rows that `order` names, counted over the captions of the works that ask for them;
    `cosines` (R,) likewise, in order; `vectors` (E,) of the `texts` that had none.
    """

    works: Sequence[MatchWork]
    logits: Pending | None
    order: Sequence[int]
    cosines: Pending | None
    texts: Sequence[TextState]
    vectors: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Embedding:
    """An `embed` step under way: (B, E) unit vectors of its works; `new` (E,) of the `texts` that had none."""

    works: Sequence[ImageWork | EmbedTextWork]
    vectors: Pending
    texts: Sequence[TextState]
    new: Sequence[Tensor]


class Cutter:
    """Cuts items into works, and says what they cost."""

    def __init__(self, costs: Costs, max_step_cost: int) -> None:
        self._costs = costs
        self._limit = max_step_cost // 4  # several requests share a step

    def cut(self, item: MatchItem, image: FoundImage, texts: Sequence[TextState]) -> tuple[MatchWork, ...]:
        """Works that are together the item. Those behind the first wait for it to encode the image."""
        works = []
        for i, piece in enumerate(self._pieces(texts, item.scores)):
            after = Progress(SCORE, self._score_cost(piece, item.scores))
            first = image.begin(after, i)
            work = MatchWork(
                phase=first.phase,
                cost=first.cost,
                length=len(piece[-1][1].ids),
                image=image.state,
                needs=needs_of(item),
                after=after,
                texts=tuple(piece),
                protocol=item.protocol,
                scores=item.scores,
            )
            works.append(work)
        return tuple(works)

    def embed_image(self, image: FoundImage) -> ImageWork:
        """The one work of an image to become a vector."""
        after = Progress(EMBED, 1)
        first = image.begin(after)
        return ImageWork(
            phase=first.phase,
            cost=first.cost,
            image=image.state,
            needs=frozenset({"vector"}),
            after=after,
        )

    def embed_text(self, text: TextState) -> EmbedTextWork:
        """The one work of a text to become a vector."""
        return EmbedTextWork(phase=EMBED, cost=caption_cost(len(text.ids)), length=len(text.ids), text=text)

    def _score_cost(self, texts: Sequence[NumberedText], scores: frozenset[Score]) -> int:
        """Cost of scoring captions of one image: a pass of the text tower a score, and the projections for ITM."""
        return sum(_cost(text, scores) for _, text in texts) + self._projection(scores)

    def _projection(self, scores: frozenset[Score]) -> int:
        return self._costs.projection if "itm" in scores else 0

    def _pieces(self, texts: Sequence[TextState], scores: frozenset[Score]) -> list[list[NumberedText]]:
        lengths, costs = [len(text.ids) for text in texts], [_cost(text, scores) for text in texts]
        pieces = cut(lengths, costs, self._limit - self._projection(scores))
        return [[(place, texts[place]) for place in piece] for piece in pieces]


def _cost(text: TextState, scores: frozenset[Score]) -> int:
    return len(scores) * caption_cost(len(text.ids))
