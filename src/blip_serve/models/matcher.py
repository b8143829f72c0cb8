"""`Matcher`: the `Model` of image-text matching. Prepares items on worker threads, scores works on the device thread.

Phases: `encode` (pixels to image state, skipped where the state is known), then `score`.
"""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

import torch
from PIL import Image
from torch import Tensor

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    Caption,
    Done,
    Failed,
    ImageBytes,
    MatchItem,
    Outcome,
    PairScore,
    Prepared,
    Progress,
    ScoringProtocol,
    Task,
)
from blip_serve.errors import InternalError
from blip_serve.images.decode import Decoder
from blip_serve.models.config import costs, read_config
from blip_serve.models.device import Device, Pending, open_device
from blip_serve.models.image_cache import ImageCache
from blip_serve.models.match_works import ENCODE, SCORE, Cutter, Encoding, MatchWork, Scoring, TextState
from blip_serve.models.processing import CaptionTokenizer, PixelFormat, read_pixel_format
from blip_serve.models.retrieval import RetrievalNetwork
from blip_serve.models.text_batches import Row, batch_rows
from blip_serve.models.weights import load_weights
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

ARCHITECTURE = "BlipForImageTextRetrieval"


class Matcher:
    """A retrieval checkpoint on a device."""

    tasks: frozenset[Task] = frozenset({"match"})

    def __init__(
        self,
        network: RetrievalNetwork,
        device: Device,
        tokenizer: CaptionTokenizer,
        pixel_format: PixelFormat,
        cache: ImageCache,
        decoder: Decoder,
        cutter: Cutter,
        card: ModelCard,
    ) -> None:
        self.network = network
        self.card = card
        self.depth = device.depth
        self._device = device
        self._tokenizer = tokenizer
        self._pixel_format = pixel_format
        self._cache = cache
        self._decoder = decoder
        self._cutter = cutter
        self._texts: WeakValueDictionary[tuple[ScoringProtocol, str], TextState] = WeakValueDictionary()
        self._texts_lock = threading.Lock()
        mean, std = torch.tensor(pixel_format.mean), torch.tensor(pixel_format.std)
        self._mean, self._std = mean.to(device.kind), std.to(device.kind)
        self._image_tokens = network.vision_model.embeddings.position_embedding.shape[1]

    @classmethod
    def load(cls, folder: Path, card: ModelCard, settings: Settings, decoder: Decoder, telemetry: Telemetry) -> Self:
        """Loads the checkpoint in `folder` onto the settings' device.

        Raises `CheckpointError` naming the file and the reason, `ConfigurationError` for a device that is not there.
        """
        device = open_device(settings)
        config = read_config(folder)
        for fact in card.differences(config.shape):
            telemetry.log.warning("checkpoint_differs_from_card", model=card.id, fact=fact)
        tokenizer = CaptionTokenizer(folder, config.text.max_position_embeddings, config.text.vocab_size)
        pixel_format = read_pixel_format(folder, config.vision.image_size)
        with torch.device("meta"):
            network = RetrievalNetwork(config)
        load_weights(network, folder, device)
        cache = ImageCache(settings.images.cache_tokens_bytes, settings.images.cache_vectors_bytes)
        for kind, kept in (("tokens", cache.tokens), ("vectors", cache.vectors)):
            telemetry.watch_cache(card.id, kind, kept, lambda kept: kept.size)
        telemetry.watch_device(device.memory)
        cutter = Cutter(costs(config), settings.engine.max_step_cost)
        known = replace(
            card,
            architecture=card.architecture or ARCHITECTURE,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            shape=config.shape,
        )
        return cls(network, device, tokenizer, pixel_format, cache, decoder, cutter, known)

    # Worker threads

    def prepare(self, item: MatchItem) -> Prepared:
        """Finds or decodes the image, tokenizes the captions and cuts them into works of like length.

        Raises `InvalidInput` naming the image's or the caption's field.
        """
        texts = self._tokenize(item.captions, item.protocol)
        image = self._cache.find(item.image.digest)
        cached = image.has(item.scores)
        started = time.monotonic()
        image.fill(item.scores, lambda: self._pixels(item.image))
        return Prepared(
            works=self._cutter.cut(item, image, texts),
            image_tokens=self._image_tokens,
            cached_tokens=self._image_tokens if cached else 0,
            text_tokens=tuple(len(text.ids) for text in texts),
            decode_seconds=0.0 if cached else time.monotonic() - started,
        )

    def warm_up(self) -> MatchItem:
        """A grey picture and two captions."""
        file = BytesIO()
        Image.new("RGB", (64, 64), (128, 128, 128)).save(file, "png")
        captions = (Caption("a grey picture", "warm-up"), Caption("grey", "warm-up"))
        return MatchItem(ImageBytes(file.getvalue(), "warm-up", "warm-up"), captions)

    def _tokenize(self, captions: tuple[Caption, ...], protocol: ScoringProtocol) -> list[TextState]:
        with self._texts_lock:
            known = {caption.text: self._texts.get((protocol, caption.text)) for caption in captions}
        new = [caption for caption in captions if known[caption.text] is None]
        for caption, ids in zip(new, self._tokenizer.encode(new, protocol), strict=True):
            with self._texts_lock:
                known[caption.text] = self._texts.setdefault((protocol, caption.text), TextState(ids))
        return [text for caption in captions if (text := known[caption.text]) is not None]

    def _pixels(self, image: ImageBytes) -> Tensor:
        with self._decoder.open(image) as picture:
            return torch.from_numpy(self._pixel_format.pixels(picture))

    # The device thread

    def admit(self, work: MatchWork) -> bool:
        """Nothing is held between steps beyond the states, which live as long as their works."""
        return True

    def release(self, work: MatchWork) -> None:
        """See `admit`."""

    @torch.inference_mode()
    def launch(self, works: Sequence[MatchWork]) -> Encoding | Scoring:
        """Starts encoding the works' images, or scoring their pairs."""
        with self._device.faults():
            return self._encode(works) if works[0].phase == ENCODE else self._score(works)

    @torch.inference_mode()
    def collect(self, launched: Encoding | Scoring) -> list[Outcome]:
        """Waits for the step, keeps what it made, and gives each work its next phase or its result."""
        with self._device.faults():
            return self._encoded(launched) if isinstance(launched, Encoding) else self._scored(launched)

    def _encode(self, works: Sequence[MatchWork]) -> Encoding:
        states = [state for state in dict.fromkeys(work.image for work in works) if state.to_encode]
        if not states:
            return Encoding(works, [])
        pixels = self._device.upload(torch.stack([state.pixels for state in states if state.pixels is not None]))
        normal = (pixels.float() / 255 - self._mean) / self._std
        tokens = self.network.vision_model(normal.permute(0, 3, 1, 2).to(self._device.dtype))
        vectors = self.network.image_vectors(tokens)
        done = self._device.to_host(vectors[:, :1])
        for state in states:
            state.encoding = True
        return Encoding(works, states, tokens, vectors, done)

    def _encoded(self, step: Encoding) -> list[Outcome]:
        for state in step.states:
            state.encoding = False
        if step.tokens is not None and step.vectors is not None and step.done is not None:
            step.done.wait()
            for i, state in enumerate(step.states):  # copies: a slice would keep the whole batch alive
                self._cache.keep(state, step.tokens[i].clone(), step.vectors[i].clone())
        return [
            Progress(SCORE, self._cutter.score_cost(work.texts, work.scores))
            if work.image.has(work.scores)
            else Progress(ENCODE, self._cutter.encode_cost)  # the step that was encoding it failed
            for work in step.works
        ]

    def _score(self, works: Sequence[MatchWork]) -> Scoring:
        logits, order = self._logits([work for work in works if "itm" in work.scores])
        asking = [work for work in works if "cosine" in work.scores]
        texts = list(dict.fromkeys(text for work in asking for _, text in work.texts if text.vector is None))
        vectors = self._text_vectors(texts)
        cosines = self._cosines(asking, dict(zip(texts, vectors, strict=True)))
        return Scoring(works, logits, order, cosines, texts, vectors)

    def _logits(self, works: Sequence[MatchWork]) -> tuple[Pending | None, list[int]]:
        """(R, 2) over the works' captions, and their order. An image is projected once, whatever works it is in."""
        if not works:
            return None, []
        images = {image: number for number, image in enumerate(dict.fromkeys(work.image for work in works))}
        rows = [
            Row(self._match_ids(text, work.protocol), images[work.image]) for work in works for _, text in work.texts
        ]
        batches, order = batch_rows(rows, self._device.upload)
        tokens = torch.stack([_known(image.tokens) for image in images])
        return self._device.to_host(self.network.match_logits(batches, tokens)), order

    def _match_ids(self, text: TextState, protocol: ScoringProtocol) -> tuple[int, ...]:
        """`paper` puts `[ENC]` in position 0 for matching (salesforce/BLIP:models/blip_retrieval.py)."""
        return text.ids if protocol == "hf" else (self._tokenizer.encoder_id, *text.ids[1:])

    def _text_vectors(self, texts: Sequence[TextState]) -> list[Tensor]:
        """(E,) of each text; copies, since a row of the batch would keep all of it alive."""
        if not texts:
            return []
        batches, order = batch_rows([Row(text.ids) for text in texts], self._device.upload)
        found = dict(zip(order, self.network.text_vectors(batches), strict=True))
        return [found[place].clone() for place in range(len(texts))]

    def _cosines(self, works: Sequence[MatchWork], new: dict[TextState, Tensor]) -> Pending | None:
        """(R,) over the works' captions in order."""
        if not works:
            return None
        pairs = [(work.image.vector, new.get(text, text.vector)) for work in works for _, text in work.texts]
        images = torch.stack([_known(image) for image, _ in pairs])
        texts = torch.stack([_known(text) for _, text in pairs])
        return self._device.to_host((images * texts).sum(dim=-1))

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
    if not all(math.isfinite(number) for number in numbers):
        return Failed(InternalError("The model gave no finite score for this input."))
    return Done(tuple((position, score) for (position, _), score in zip(work.texts, scores, strict=True)))
