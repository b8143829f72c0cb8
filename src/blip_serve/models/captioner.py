"""`Captioner`: the `Model` of a captioning checkpoint.

Phases: `encode` (skipped if the image is known), then `prefill` and `decode` (one step per token), `rank` if the
request gives the captions, or `explain`.
"""

from pathlib import Path
from typing import Self

from blip_serve.architectures import CAPTIONING
from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caption, ExplainItem, GenerateItem, GenerationOptions, Prepared, RankItem
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.explain_works import EXPLAIN, check_no_question
from blip_serve.models.explanations import Explanations
from blip_serve.models.generation import CaptioningNetwork
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ENCODE
from blip_serve.models.phases import Phases
from blip_serve.models.readers import CaptionReader
from blip_serve.models.warm_up import grey_picture
from blip_serve.models.writer import Subject, Writer
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

CaptioningItem = GenerateItem | RankItem | ExplainItem


class Captioner:
    """A captioning checkpoint on a device."""

    tasks = frozenset(CAPTIONING.tasks)
    network_class, reader_class = CaptioningNetwork, CaptionReader

    def __init__(self, checkpoint: Checkpoint[CaptioningNetwork], max_sequences: int) -> None:
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = checkpoint.device.depth
        self._projection = checkpoint.costs.projection
        self._tokenizer = checkpoint.tokenizer
        self._images = checkpoint.image_encoder(self.network.vision_model)
        self._writer = Writer(checkpoint, self.network.text_decoder, max_sequences)
        self._explanations = Explanations(checkpoint, self._images, CaptionReader, ("attention",))
        self._begin = checkpoint.config.text.bos_token_id
        phases = Phases(
            checkpoint.device, {ENCODE: self._images, EXPLAIN: self._explanations.phase, **self._writer.phases}
        )
        self.launch, self.collect = phases.launch, phases.collect
        self.admit, self.release = self._writer.admit, self._writer.release
        self.missing = self._explanations.missing

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`."""
        checkpoint = open_checkpoint(cls.network_class, CAPTIONING, folder, card, settings, decoder, telemetry)
        return cls(checkpoint, settings.engine.max_sequences)

    def known(self, item: CaptioningItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        return self._images.known(item.image, TOKENS)

    def prepare(self, item: CaptioningItem) -> Prepared:
        """Finds or decodes the image. All captions, generated or given, begin with the item's text.

        Raises `InvalidInput` naming the field of the image, the text, a given caption, or the number of tokens.
        """
        if isinstance(item, ExplainItem):
            check_no_question(item)
            read = [self._tokenizer.spelled(caption, "hf").foretold(self._begin) for caption in item.captions]
            return self._explanations.prepare(item, read)
        [beginning] = self._tokenizer.words([item.text if isinstance(item, GenerateItem) else item.question])
        texts = self._writer.texts(item, beginning)
        image = self._images.find(item.image, TOKENS)
        works = texts.works(Subject(image.state, image.state, self._projection))
        return image.prepared(works, [beginning, *texts.ids])

    def warm_up(self) -> GenerateItem:
        """A short caption of a grey picture."""
        return GenerateItem(grey_picture(), Caption("a", "warm-up"), options=GenerationOptions(max_tokens=2))
