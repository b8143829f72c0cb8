"""The works on texts that a decoder generates or ranks: the same for captioning and for question answering."""

from collections.abc import Sequence
from dataclasses import dataclass

from blip_serve.domain import Progress, caption_cost
from blip_serve.models.decoder import Source
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.ranked_texts import NumberedTexts, RankedText, cut_texts
from blip_serve.models.sequences import Generated
from blip_serve.models.text_batches import MAX_TEXTS_COST

PREFILL, DECODE, RANK = "prefill", "decode", "rank"


@dataclass(eq=False, slots=True, kw_only=True)
class TextWork(ImageWork):
    """A work on texts about `source`. `then`: its first step in the decoder."""

    source: Source
    then: Progress


@dataclass(eq=False, slots=True, kw_only=True)
class GenerateWork(TextWork):
    """One text to be generated, or the beams of one search. `slots`: those it holds in the KV cache."""

    sequence: Generated
    slots: tuple[int, ...] = ()

    @property
    def slot_count(self) -> int:
        """One slot for each sequence that it generates at once."""
        return self.sequence.width


@dataclass(eq=False, slots=True, kw_only=True)
class RankWork(TextWork):
    """Some texts to be scored against one source."""

    texts: NumberedTexts


@dataclass(frozen=True, slots=True)
class Subject:
    """What an item's texts are about: an image, or a question about the image.

    `source`: what the decoder attends to; `projection`: the cost of projecting it. `reading`: the step that makes a
    question a source; `length`: the question's tokens.
    """

    image: ImageState
    source: Source
    projection: int
    reading: Progress | None = None
    length: int = 0


@dataclass(frozen=True, slots=True)
class GeneratedTexts:
    """An item's texts to be generated."""

    sequences: Sequence[Generated]
    ids: Sequence[tuple[int, ...]] = ()

    def works(self, subject: Subject) -> list[GenerateWork]:
        """A work for each sequence."""
        works = []
        for sequence in self.sequences:
            then = Progress(PREFILL, subject.projection + caption_cost(len(sequence.prompt)))
            first = subject.reading or then
            work = GenerateWork(
                phase=first.phase,
                cost=first.cost,
                length=subject.length,
                image=subject.image,
                needs=TOKENS,
                source=subject.source,
                then=then,
                sequence=sequence,
            )
            works.append(work)
        return works


@dataclass(frozen=True, slots=True)
class GivenTexts:
    """An item's texts to be ranked, and the ids of each."""

    texts: Sequence[RankedText]
    ids: Sequence[tuple[int, ...]]

    def works(self, subject: Subject) -> list[RankWork]:
        """Works on pieces of like length."""
        works = []
        for piece, cost in cut_texts(self.texts, MAX_TEXTS_COST - subject.projection):
            then = Progress(RANK, cost + subject.projection)
            first = subject.reading or then
            work = RankWork(
                phase=first.phase,
                cost=first.cost,
                length=subject.length,
                image=subject.image,
                needs=TOKENS,
                source=subject.source,
                then=then,
                texts=piece,
            )
            works.append(work)
        return works
