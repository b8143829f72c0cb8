"""`Matcher`: the `Model` of a retrieval checkpoint.

Phases: `encode` (skipped if the image is known), then `score`, `embed` or `explain`.
"""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

from blip_serve.architectures import RETRIEVAL
from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caption, EmbedItem, ExplainItem, MatchItem, Prepared, ScoringProtocol, image_of
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.explain_works import EXPLAIN, check_no_question
from blip_serve.models.explanations import Explanations
from blip_serve.models.image_cache import ImageState
from blip_serve.models.image_encoder import ENCODE, ImageWork
from blip_serve.models.match_phases import Embedder, Scorer
from blip_serve.models.match_works import (
    EMBED,
    SCORE,
    EmbedTextWork,
    TextState,
    embed_image_work,
    embed_text_work,
    match_works,
    needs_of,
)
from blip_serve.models.phases import Phases
from blip_serve.models.readers import MatchReader
from blip_serve.models.retrieval import RetrievalNetwork
from blip_serve.models.warm_up import grey_picture
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

RetrievalItem = MatchItem | EmbedItem | ExplainItem
RetrievalWork = ImageWork | EmbedTextWork


class Matcher:
    """A retrieval checkpoint on a device."""

    tasks = frozenset(RETRIEVAL.tasks)
    network_class, reader_class = RetrievalNetwork, MatchReader

    def __init__(self, checkpoint: Checkpoint[RetrievalNetwork]) -> None:
        device = checkpoint.device
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = device.depth
        self._projection = checkpoint.costs.projection
        self._tokenizer = checkpoint.tokenizer
        self._images = checkpoint.image_encoder(self.network.vision_model, self.network.image_vectors)
        self._explanations = Explanations(checkpoint, self._images, MatchReader, ("gradcam", "attention"))
        scorer = Scorer(self.network, device, self._tokenizer.encoder_id, self.card.calibrations)
        embedder = Embedder(self.network, device)
        phases = Phases(
            device, {ENCODE: self._images, SCORE: scorer, EMBED: embedder, EXPLAIN: self._explanations.phase}
        )
        self.launch, self.collect = phases.launch, phases.collect
        self.missing = self._explanations.missing
        self._texts: WeakValueDictionary[tuple[ScoringProtocol, str], TextState] = WeakValueDictionary()
        self._texts_lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`."""
        return cls(open_checkpoint(cls.network_class, RETRIEVAL, folder, card, settings, decoder, telemetry))

    def known(self, item: RetrievalItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        image = image_of(item)
        assert image is not None
        return self._images.known(image, needs_of(item))

    # Worker threads

    def prepare(self, item: RetrievalItem) -> Prepared:
        """Finds or decodes the image, tokenizes the texts and cuts them into works of like length.

        Raises `InvalidInput` naming the image's or the text's field.
        """
        if isinstance(item, MatchItem):
            return self._prepare_match(item)
        return self._prepare_embed(item) if isinstance(item, EmbedItem) else self._prepare_explain(item)

    def _prepare_match(self, item: MatchItem) -> Prepared:
        texts = self._tokenize(item.captions, item.protocol)
        image = self._images.find(item.image, needs_of(item))
        works = match_works(item, image.state, texts, self._projection)
        return image.prepared(works, [text.ids for text in texts])

    def _prepare_embed(self, item: EmbedItem) -> Prepared:
        if isinstance(item.source, Caption):
            [text] = self._tokenize((item.source,), item.protocol)
            return Prepared((embed_text_work(text),), text_tokens=(len(text.ids),))
        image = self._images.find(item.source, needs_of(item))
        return image.prepared([embed_image_work(image.state)])

    def _prepare_explain(self, item: ExplainItem) -> Prepared:
        check_no_question(item)
        read = [self._tokenizer.spelled(caption, item.protocol) for caption in item.captions]
        if item.protocol == "paper":
            read = [replace(each, ids=(self._tokenizer.encoder_id, *each.ids[1:])) for each in read]
        return self._explanations.prepare(item, read)

    def warm_up(self) -> MatchItem:
        """A grey picture and two captions."""
        captions = (Caption("a grey picture", "warm-up"), Caption("grey", "warm-up"))
        return MatchItem(grey_picture(), captions)

    def _tokenize(self, captions: tuple[Caption, ...], protocol: ScoringProtocol) -> list[TextState]:
        with self._texts_lock:
            known = {caption.text: self._texts.get((protocol, caption.text)) for caption in captions}
        new = [caption for caption in captions if known[caption.text] is None]
        for caption, ids in zip(new, self._tokenizer.encode(new, protocol), strict=True):
            with self._texts_lock:
                known[caption.text] = self._texts.setdefault((protocol, caption.text), TextState(ids))
        return [text for caption in captions if (text := known[caption.text]) is not None]

    # The device thread

    def admit(self, work: RetrievalWork) -> bool:
        """A work holds nothing between its steps but its states, which need no slot."""
        return True

    def release(self, work: RetrievalWork) -> None:
        """See `admit`."""
