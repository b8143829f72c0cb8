"""The works on texts that a decoder generates or ranks: the same for captioning and for question answering."""

from dataclasses import dataclass

from blip_serve.domain import Progress
from blip_serve.models.decoder import Source
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.ranked_texts import NumberedTexts
from blip_serve.models.sequences import Generated

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
