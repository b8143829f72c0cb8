"""`Matcher`: the `Model` of a retrieval checkpoint. Prepares items on worker threads, runs works on the device thread.

Phases: `encode` (pixels to image state, skipped where the state is known), then `score` or `embed`.
"""

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    Caption,
    Done,
    EmbedItem,
    Failed,
    MatchItem,
    Outcome,
    PairScore,
    Prepared,
    ScoringProtocol,
    Task,
    image_of,
)
from blip_serve.errors import not_finite
from blip_serve.images.decode import Decoder
from blip_serve.models.checkpoint import Checkpoint, open_checkpoint
from blip_serve.models.device import Pending
from blip_serve.models.image_cache import ImageState
from blip_serve.models.image_encoder import ENCODE, Encoding, ImageWork
from blip_serve.models.match_works import (
    SCORE,
    Cutter,
    Embedding,
    EmbedTextWork,
    MatchWork,
    Scoring,
    TextState,
    needs_of,
)
from blip_serve.models.retrieval import RetrievalNetwork
from blip_serve.models.text_batches import BatchedRows, Row, batch_rows
from blip_serve.models.warm_up import grey_picture
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

ARCHITECTURE = "BlipForImageTextRetrieval"

RetrievalWork = MatchWork | ImageWork | EmbedTextWork


class Matcher:
    """A retrieval checkpoint on a device."""

    tasks: frozenset[Task] = frozenset({"match", "embed"})

    def __init__(self, checkpoint: Checkpoint[RetrievalNetwork], cutter: Cutter) -> None:
        self.network = checkpoint.network
        self.card = checkpoint.card
        self.depth = checkpoint.device.depth
        self._device = checkpoint.device
        self._tokenizer = checkpoint.tokenizer
        self._images = checkpoint.image_encoder(self.network.vision_model, self.network.image_vectors)
        self._cutter = cutter
        self._texts: WeakValueDictionary[tuple[ScoringProtocol, str], TextState] = WeakValueDictionary()
        self._texts_lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """See `open_checkpoint`."""
        checkpoint = open_checkpoint(RetrievalNetwork, ARCHITECTURE, folder, card, settings, decoder, telemetry)
        return cls(checkpoint, Cutter(checkpoint.costs, settings.engine.max_step_cost))

    def known(self, item: MatchItem | EmbedItem) -> ImageState | None:
        """See `ImageEncoder.known`."""
        image = image_of(item)
        assert image is not None
        return self._images.known(image, needs_of(item))

    # Worker threads

    def prepare(self, item: MatchItem | EmbedItem) -> Prepared:
        """Finds or decodes the image, tokenizes the texts and cuts them into works of like length.

        Raises `InvalidInput` naming the image's or the text's field.
        """
        return self._prepare_match(item) if isinstance(item, MatchItem) else self._prepare_embed(item)

    def _prepare_match(self, item: MatchItem) -> Prepared:
        texts = self._tokenize(item.captions, item.protocol)
        image = self._images.find(item.image, needs_of(item))
        return image.prepared(self._cutter.cut(item, image, texts), [len(text.ids) for text in texts])

    def _prepare_embed(self, item: EmbedItem) -> Prepared:
        if isinstance(item.source, Caption):
            text = self._tokenize((item.source,), item.protocol)[0]
            return Prepared((self._cutter.embed_text(text),), text_tokens=(len(text.ids),))
        image = self._images.find(item.source, needs_of(item))
        return image.prepared([self._cutter.embed_image(image)])

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
        """Nothing is held between steps beyond the states, which live as long as their works."""
        return True

    def release(self, work: RetrievalWork) -> None:
        """See `admit`."""

    @torch.inference_mode()
    def launch(self, works: Sequence[RetrievalWork]) -> Encoding | Scoring | Embedding:
        """Starts encoding the works' images, scoring their pairs, or making their vectors."""
        with self._device.computing():
            phase = works[0].phase
            if phase == ENCODE:
                return self._images.launch([work for work in works if isinstance(work, ImageWork)])
            if phase == SCORE:
                return self._score([work for work in works if isinstance(work, MatchWork)])
            return self._embed([work for work in works if not isinstance(work, MatchWork)])

    @torch.inference_mode()
    def collect(self, launched: Encoding | Scoring | Embedding) -> list[Outcome]:
        """Waits for the step, keeps what it made, and gives each work its next phase or its result."""
        with self._device.computing():
            if isinstance(launched, Encoding):
                return self._images.collect(launched)
            return self._scored(launched) if isinstance(launched, Scoring) else self._embedded(launched)

    def _score(self, works: Sequence[MatchWork]) -> Scoring:
        logits, order = self._logits([work for work in works if "itm" in work.scores])
        asking = [work for work in works if "cosine" in work.scores]
        texts = list(dict.fromkeys(text for work in asking for _, text in work.texts if text.vector is None))
        vectors = self._text_vectors(texts)
        cosines = self._cosines(asking, dict(zip(texts, vectors, strict=True)))
        return Scoring(works, logits, order, cosines, texts, vectors)

    def _logits(self, works: Sequence[MatchWork]) -> tuple[Pending | None, Sequence[int]]:
        """(R, 2) over the works' captions, and their order. An image is read once, whatever works it is in."""
        if not works:
            return None, []
        images = {image: number for number, image in enumerate(dict.fromkeys(work.image for work in works))}
        rows = [
            Row(self._match_ids(text, work.protocol), images[work.image]) for work in works for _, text in work.texts
        ]
        batched = self._batched(rows)
        tokens = torch.stack([_known(image.tokens) for image in images])
        return self._device.to_host(self.network.match_logits(batched, tokens)), batched.order

    def _batched(self, rows: Sequence[Row]) -> BatchedRows:
        return batch_rows(rows, self.network.text_encoder.positions, self._device.folded, self._device.upload)

    def _match_ids(self, text: TextState, protocol: ScoringProtocol) -> tuple[int, ...]:
        """`paper` puts `[ENC]` in position 0 for matching (salesforce/BLIP:models/blip_retrieval.py)."""
        return text.ids if protocol == "hf" else (self._tokenizer.encoder_id, *text.ids[1:])

    def _text_vectors(self, texts: Sequence[TextState]) -> list[Tensor]:
        """(E,) of each text; copies, since a row of the batch would keep all of it alive."""
        if not texts:
            return []
        batched = self._batched([Row(text.ids) for text in texts])
        found = dict(zip(batched.order, self.network.text_vectors(batched), strict=True))
        return [found[place].clone() for place in range(len(texts))]

    def _cosines(self, works: Sequence[MatchWork], new: dict[TextState, Tensor]) -> Pending | None:
        """(R,) over the works' captions in order."""
        if not works:
            return None
        pairs = [(work.image.vector, new.get(text, text.vector)) for work in works for _, text in work.texts]
        images = torch.stack([_known(image) for image, _ in pairs])
        texts = torch.stack([_known(text) for _, text in pairs])
        return self._device.to_host((images * texts).sum(dim=-1))

    def _embed(self, works: Sequence[ImageWork | EmbedTextWork]) -> Embedding:
        asked = [work.text for work in works if isinstance(work, EmbedTextWork)]
        texts = list(dict.fromkeys(text for text in asked if text.vector is None))
        vectors = self._text_vectors(texts)
        new = dict(zip(texts, vectors, strict=True))
        found = [
            work.image.vector if isinstance(work, ImageWork) else new.get(work.text, work.text.vector) for work in works
        ]
        return Embedding(works, self._device.to_host(torch.stack(list(map(_known, found)))), texts, vectors)

    def _embedded(self, step: Embedding) -> list[Outcome]:
        for text, vector in zip(step.texts, step.new, strict=True):
            text.vector = vector
        return [_finite(((0, tuple(vector)),), vector) for vector in step.vectors.wait().tolist()]

    def _scored(self, step: Scoring) -> list[Outcome]:
        found = dict(zip(step.order, step.logits.wait().tolist() if step.logits else (), strict=True))
        logits = iter([found[place] for place in range(len(found))])
        cosines = iter(step.cosines.wait().tolist() if step.cosines else ())
        for text, vector in zip(step.texts, step.vectors, strict=True):
            text.vector = vector
        outcomes: list[Outcome] = []
        for work in step.works:
            itm, cosine = ("itm" in work.scores), ("cosine" in work.scores)
            scores = [_pair(next(logits) if itm else None, next(cosines) if cosine else None) for _ in work.texts]
            outcomes.append(_outcome(work, scores))
        return outcomes


def _known(tensor: Tensor | None) -> Tensor:
    """What a work in its `score` phase has for certain."""
    if tensor is None:
        raise RuntimeError("a work was scored before it was encoded")
    return tensor


def _pair(logits: list[float] | None, cosine: float | None) -> PairScore:
    if logits is None:
        return PairScore(cosine_score=cosine)
    no_match, match = logits
    probability = 1 / (1 + math.exp(min(no_match - match, 700.0)))  # softmax, index 1; e**710 overflows
    return PairScore((no_match, match), probability, cosine)


def _outcome(work: MatchWork, scores: Sequence[PairScore]) -> Outcome:
    numbers = [n for score in scores for n in (*(score.itm_logits or ()), score.cosine_score) if n is not None]
    return _finite(tuple((position, score) for (position, _), score in zip(work.texts, scores, strict=True)), numbers)


def _finite(result: object, numbers: Sequence[float]) -> Outcome:
    """The result, unless one of its numbers is none."""
    if not all(map(math.isfinite, numbers)):
        return Failed(not_finite())
    return Done(result)
