"""`Writer`: a text decoder with all that captioning and question answering do with it: generate texts, or rank them."""

from collections.abc import Mapping
from typing import Any

from blip_serve.domain import GenerateItem, RankItem, Work
from blip_serve.models.checkpoint import Checkpoint
from blip_serve.models.decoder import TextDecoder
from blip_serve.models.generator import Generator
from blip_serve.models.phases import AnyPhase
from blip_serve.models.ranked_texts import ranked_texts
from blip_serve.models.ranker import Ranker
from blip_serve.models.sequences import Vocabulary, sequences
from blip_serve.models.text_works import DECODE, PREFILL, RANK, GeneratedTexts, GenerateWork, GivenTexts


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

        Raises `InvalidInput` naming the number of tokens, or the given text, that does not fit.
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
