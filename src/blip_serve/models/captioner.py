"""`Captioner`: the `Model` of a captioning checkpoint. Prepares items on worker threads, writes captions on the device.

Phases: `encode` (skipped where the image's state is known), then `prefill` and `decode`, once a token, or `rank` for
given captions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    Caption,
    GenerateItem,
    GenerationOptions,
    Outcome,
    Prepared,
    Progress,
    RankItem,
    Task,
)
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.generation import CaptioningNetwork
from blip_serve.models.generator import GenerateWork, Generating, Generator, prefill
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ENCODE, Encoding
from blip_serve.models.ranker import RANK, Ranker, Ranking, RankWork, answers, pieces
from blip_serve.models.sequences import sequences
from blip_serve.models.warm_up import grey_picture
from blip_serve.settings import EngineSettings, Settings
from blip_serve.telemetry import Telemetry

ARCHITECTURE = "BlipForConditionalGeneration"

Launched = Encoding | Generating | Ranking


class Captioner:
    """A captioning checkpoint on a device."""

    tasks: frozenset[Task] = frozenset({"caption"})

    def __init__(self, checkpoint: Checkpoint[CaptioningNetwork], settings: EngineSettings) -> None:
        text = checkpoint.config.text
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = checkpoint.device.depth
        self._device = checkpoint.device
        self._costs = checkpoint.costs
        self._tokenizer = checkpoint.tokenizer
        self._limit = settings.max_step_cost // 4  # several requests share a step
        self._vocabulary = checkpoint.vocabulary
        self._images = checkpoint.image_encoder(self.network.vision_model)
        self._generator = Generator(self.network.text_decoder, text, checkpoint.device, settings.max_sequences)
        self._ranker = Ranker(self.network.text_decoder, checkpoint.device)

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`."""
        checkpoint = open_checkpoint(CaptioningNetwork, ARCHITECTURE, folder, card, settings, decoder, telemetry)
        return cls(checkpoint, settings.engine)

    def known(self, item: GenerateItem | RankItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        return self._images.known(item.image, TOKENS)

    # Worker threads

    def prepare(self, item: GenerateItem | RankItem) -> Prepared:
        """Finds or decodes the image, and begins the captions, or those given, with the item's text, if any.

        Raises `InvalidInput` naming the field of the image, the text, a given caption, or the number of tokens.
        """
        text = item.text if isinstance(item, GenerateItem) else item.question
        words = self._tokenizer.words([text])[0]
        return self._generate(item, words) if isinstance(item, GenerateItem) else self._rank(item, words)

    def _generate(self, item: GenerateItem, words: tuple[int, ...]) -> Prepared:
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
        return image.prepared(works, [words])

    def _rank(self, item: RankItem, words: tuple[int, ...]) -> Prepared:
        captions = self._tokenizer.words(item.answers)
        given = answers(item, words, captions, self._vocabulary, self._tokenizer)
        image = self._images.find(item.image, TOKENS)
        works = []
        for i, (piece, cost) in enumerate(pieces(given, self._limit)):
            after = Progress(RANK, cost + self._costs.projection)
            first = image.begin(after, i)
            work = RankWork(
                phase=first.phase,
                cost=first.cost,
                image=image.state,
                needs=TOKENS,
                after=after,
                source=image.state,
                answers=piece,
            )
            works.append(work)
        return image.prepared(works, [words, *captions])

    def warm_up(self) -> GenerateItem:
        """A short caption of a grey picture."""
        return GenerateItem(grey_picture(), Caption("a", "warm-up"), options=GenerationOptions(max_tokens=2))

    # The device thread

    def admit(self, work: GenerateWork | RankWork) -> bool:
        """Takes the places in the word cache that a work holds between its steps; those that rank hold none."""
        return not isinstance(work, GenerateWork) or self._generator.admit(work)

    def release(self, work: GenerateWork | RankWork) -> None:
        """See `admit`."""
        if isinstance(work, GenerateWork):
            self._generator.release(work)

    @torch.inference_mode()
    def launch(self, works: Sequence[GenerateWork | RankWork]) -> Launched:
        """Starts encoding the works' images, or their next tokens, or scoring the captions that they were given."""
        with self._device.computing():
            phase = works[0].phase
            if phase == ENCODE:
                return self._images.launch(works)
            if phase == RANK:
                return self._ranker.launch([work for work in works if isinstance(work, RankWork)])
            return self._generator.launch([work for work in works if isinstance(work, GenerateWork)])

    @torch.inference_mode()
    def collect(self, launched: Launched) -> list[Outcome]:
        """Waits for the step, keeps what it made, and gives each work its next phase or its result."""
        with self._device.computing():
            match launched:
                case Encoding():
                    return self._images.collect(launched)
                case Ranking():
                    return self._ranker.collect(launched)
                case Generating():
                    return self._generator.collect(launched)
