"""`Captioner`: the `Model` of a captioning checkpoint. Prepares items on worker threads, writes captions on the device.

Phases: `encode` (skipped where the image's state is known), `prefill`, then `decode` once a token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caption, GenerateItem, GenerationOptions, Outcome, Prepared, Task
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.generation import CaptioningNetwork
from blip_serve.models.generator import GenerateWork, Generating, Generator, prefill
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ENCODE, Encoding
from blip_serve.models.sequences import Vocabulary, sequences
from blip_serve.models.warm_up import grey_picture
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

ARCHITECTURE = "BlipForConditionalGeneration"


class Captioner:
    """A captioning checkpoint on a device."""

    tasks: frozenset[Task] = frozenset({"caption"})

    def __init__(self, checkpoint: Checkpoint[CaptioningNetwork], max_sequences: int) -> None:
        text = checkpoint.config.text
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = checkpoint.device.depth
        self._device = checkpoint.device
        self._costs = checkpoint.costs
        self._tokenizer = checkpoint.tokenizer
        self._vocabulary = Vocabulary(text.bos_token_id, text.sep_token_id, checkpoint.tokenizer.detokenizer)
        self._images = checkpoint.image_encoder(self.network.vision_model)
        self._generator = Generator(self.network.text_decoder, text, checkpoint.device, max_sequences)

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`."""
        checkpoint = open_checkpoint(CaptioningNetwork, ARCHITECTURE, folder, card, settings, decoder, telemetry)
        return cls(checkpoint, settings.engine.max_sequences)

    def known(self, item: GenerateItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        return self._images.known(item.image, TOKENS)

    # Worker threads

    def prepare(self, item: GenerateItem) -> Prepared:
        """Finds or decodes the image, and begins the captions with the item's text, if any.

        Raises `InvalidInput` naming the field of the image, the text, or the number of tokens.
        """
        words = self._tokenizer.words([item.text])[0]
        begun = sequences(item, words, self._vocabulary, self._tokenizer.positions)
        image = self._images.find(item.image, TOKENS)
        works = []
        for i, sequence in enumerate(begun):
            after = prefill(sequence, self._costs.projection)
            first = image.begin(after, i)
            work = GenerateWork(
                phase=first.phase,
                cost=first.cost,
                image=image.state,
                needs=TOKENS,
                after=after,
                source=image.state,
                sequence=sequence,
            )
            works.append(work)
        return image.prepared(works, [len(words)])

    def warm_up(self) -> GenerateItem:
        """A short caption of a grey picture."""
        return GenerateItem(grey_picture(), Caption("a", "warm-up"), options=GenerationOptions(max_tokens=2))

    # The device thread

    def admit(self, work: GenerateWork) -> bool:
        """Takes the places in the word cache that the work holds between its steps."""
        return self._generator.admit(work)

    def release(self, work: GenerateWork) -> None:
        """See `admit`."""
        self._generator.release(work)

    @torch.inference_mode()
    def launch(self, works: Sequence[GenerateWork]) -> Encoding | Generating:
        """Starts encoding the works' images, or their next tokens."""
        with self._device.computing():
            return self._images.launch(works) if works[0].phase == ENCODE else self._generator.launch(works)

    @torch.inference_mode()
    def collect(self, launched: Encoding | Generating) -> list[Outcome]:
        """Waits for the step, keeps what it made, and gives each work its next phase or its result."""
        with self._device.computing():
            if isinstance(launched, Encoding):
                return self._images.collect(launched)
            return self._generator.collect(launched)
