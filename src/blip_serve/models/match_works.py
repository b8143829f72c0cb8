"""The works of image-text matching, an item cut into pieces of like length and bounded cost, and their steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from blip_serve.domain import MatchItem, Score, ScoringProtocol, Work
from blip_serve.models.config import Costs
from blip_serve.models.device import Pending
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
    """One image and some of its item's captions. It does not hold the item: the image's file is done with."""

    image: ImageState
    texts: tuple[NumberedText, ...]
    protocol: ScoringProtocol
    scores: frozenset[Score]


@dataclass(frozen=True, slots=True)
class Encoding:
    """An `encode` step under way: the states it makes, of (I, N, D) tokens and (I, E) vectors; `done` marks its end."""

    works: Sequence[MatchWork]
    states: Sequence[ImageState]
    tokens: Tensor | None = None
    vectors: Tensor | None = None
    done: Pending | None = None


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


class Cutter:
    """Cuts items into works, and says what they cost."""

    def __init__(self, costs: Costs, max_step_cost: int) -> None:
        self._costs = costs
        self._max_step_cost = max_step_cost
        self._limit = max_step_cost // 4  # several requests share a step

    def cut(self, item: MatchItem, image: ImageState, texts: Sequence[TextState]) -> tuple[MatchWork, ...]:
        """Works that are together the item. Those behind the first wait for it to encode the image."""
        known = image.has(item.scores)
        return tuple(
            MatchWork(
                phase=SCORE if known else ENCODE,
                cost=self.score_cost(piece, item.scores) if known else WAIT_COST if i else self.encode_cost,
                length=len(piece[-1][1].ids),
                image=image,
                texts=tuple(piece),
                protocol=item.protocol,
                scores=item.scores,
            )
            for i, piece in enumerate(self._pieces(texts, item.scores))
        )

    @property
    def encode_cost(self) -> int:
        """Cost of encoding an image; at most a step, whatever the step."""
        return min(self._costs.image, self._max_step_cost)

    def score_cost(self, texts: Sequence[NumberedText], scores: frozenset[Score]) -> int:
        """Cost of scoring captions of one image: a pass of the text tower a score, and the projections for ITM."""
        passes = len(scores) * sum(caption_cost(len(text.ids)) for _, text in texts)
        return passes + (self._costs.projection if "itm" in scores else 0)

    def _pieces(self, texts: Sequence[TextState], scores: frozenset[Score]) -> list[list[NumberedText]]:
        """The captions by length, a new piece begun where the last one is full."""
        pieces: list[list[NumberedText]] = []
        room = 0
        for numbered in sorted(enumerate(texts), key=lambda numbered: len(numbered[1].ids)):
            cost = self.score_cost([numbered], scores) - self.score_cost([], scores)
            if cost > room:
                pieces.append([])
                room = self._limit - self.score_cost([], scores)
            pieces[-1].append(numbered)
            room -= cost
        return pieces
