"""`Writer`: generates or ranks texts with a text decoder. Captioning and question answering share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from blip_serve.domain import GenerateItem, Progress, RankItem, Work, caption_cost
from blip_serve.models.checkpoint import Checkpoint
from blip_serve.models.decoder import Source, TextDecoder
from blip_serve.models.generator import Generator
from blip_serve.models.image_cache import TOKENS, ImageState, Need
from blip_serve.models.phases import AnyPhase
from blip_serve.models.ranked_texts import RankedText, cut_texts, ranked_texts
from blip_serve.models.ranker import Ranker
from blip_serve.models.sequences import Generated, Vocabulary, sequences
from blip_serve.models.text_batches import MAX_TEXTS_COST
from blip_serve.models.text_works import DECODE, PREFILL, RANK, GenerateWork, RankWork


class Begun(TypedDict):
    """The fields of every `TextWork`."""

    phase: str
    cost: int
    length: int
    image: ImageState
    needs: frozenset[Need]
    source: Source
    then: Progress


@dataclass(frozen=True, slots=True)
class Subject:
    """What an item's texts are about: an image, or a question about the image.

    `source`: what the decoder attends to; `projection`: the cost of projecting it. `reading`: the step that reads the
    question, if there is one. `length`: number of tokens of the question.
    """

    image: ImageState
    source: Source
    projection: int
    reading: Progress | None = None
    length: int = 0

    def begin(self, then: Progress) -> Begun:
        """The fields of a work whose first step in the decoder is `then`."""
        first = self.reading or then
        return Begun(
            phase=first.phase,
            cost=first.cost,
            length=self.length,
            image=self.image,
            needs=TOKENS,
            source=self.source,
            then=then,
        )


@dataclass(frozen=True, slots=True)
class GeneratedTexts:
    """The texts that an item asks to generate."""

    sequences: Sequence[Generated]
    ids: Sequence[tuple[int, ...]] = ()

    def works(self, subject: Subject) -> list[GenerateWork]:
        """A work for each sequence."""
        costs = [subject.projection + caption_cost(len(sequence.prompt)) for sequence in self.sequences]
        return [
            GenerateWork(**subject.begin(Progress(PREFILL, cost)), sequence=sequence)
            for sequence, cost in zip(self.sequences, costs, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class GivenTexts:
    """The texts that an item asks to rank, with their token ids."""

    texts: Sequence[RankedText]
    ids: Sequence[tuple[int, ...]]

    def works(self, subject: Subject) -> list[RankWork]:
        """Works on pieces of like length."""
        pieces = cut_texts(self.texts, MAX_TEXTS_COST - subject.projection)
        return [
            RankWork(**subject.begin(Progress(RANK, cost + subject.projection)), texts=piece) for piece, cost in pieces
        ]


class Writer:
    """A checkpoint's decoder. `phases`: what it does on the device thread, by name."""

    def __init__(self, checkpoint: Checkpoint[Any], decoder: TextDecoder, max_sequences: int) -> None:
        text = checkpoint.config.text
        self._tokenizer = checkpoint.tokenizer
        self._vocabulary = Vocabulary(text.bos_token_id, text.sep_token_id, checkpoint.tokenizer.detokenizer)
        self.generator = Generator(decoder, text, checkpoint.device, max_sequences)
        self.ranker = Ranker(decoder, checkpoint.device)
        self.phases: Mapping[str, AnyPhase] = {PREFILL: self.generator, DECODE: self.generator, RANK: self.ranker}

    def texts(self, item: GenerateItem | RankItem, prompt: tuple[int, ...]) -> GeneratedTexts | GivenTexts:
        """An item's texts, to be generated or ranked after `prompt`.

        Raises `InvalidInput` that names the field: the number of tokens, or the given text that is too long.
        """
        if isinstance(item, GenerateItem):
            return GeneratedTexts(sequences(item, prompt, self._vocabulary, self._tokenizer.positions))
        ids = self._tokenizer.words(item.answers)
        return GivenTexts(ranked_texts(item, prompt, ids, self._vocabulary, self._tokenizer), ids)

    def admit(self, work: Work) -> bool:
        """Takes the slots that a work holds between its steps. Works that rank hold none. See `Model.admit`."""
        return not isinstance(work, GenerateWork) or self.generator.admit(work)

    def release(self, work: Work) -> None:
        """Frees the slots. See `Model.release`."""
        if isinstance(work, GenerateWork):
            self.generator.release(work)
