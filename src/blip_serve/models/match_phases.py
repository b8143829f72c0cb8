"""The phases of a retrieval checkpoint after `encode`: `score` and `embed`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blip_serve.calibration import Calibration, logistic
from blip_serve.domain import Done, Failed, MatchScores, Outcome, ScoringProtocol
from blip_serve.errors import not_finite
from blip_serve.models.device import Device, Pending
from blip_serve.models.image_cache import encoded
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.match_works import EmbedTextWork, MatchWork, TextState
from blip_serve.models.projected_images import NONE_SEEN, ProjectedImages, SeenImages
from blip_serve.models.retrieval import RetrievalNetwork
from blip_serve.models.text_batches import BatchedRows, Row, batch_rows, crowded


@dataclass(frozen=True, slots=True)
class Vectors:
    """The (E,) unit vectors of texts that had none before the step."""

    new: Mapping[TextState, Tensor]

    def of(self, text: TextState) -> Tensor:
        """A text's vector, made by this step or before it."""
        return self.new[text] if text.vector is None else text.vector

    def keep(self) -> None:
        """Gives the texts their vectors."""
        for text, vector in self.new.items():
            text.vector = vector


@dataclass(frozen=True, slots=True)
class Scoring:
    """A `score` step under way.

    `logits` (R, 2) of the captions of the works that ask for them. `order`: for each row of `logits`, the caption's
    index among those. `seen`: the images as these captions attend to them. `cosines` (R,) of the captions of the works
    that ask for these, in order.
    """

    works: Sequence[MatchWork]
    logits: Pending | None
    order: Sequence[int]
    seen: SeenImages
    cosines: Pending | None
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Embedding:
    """An `embed` step under way: (B, E) unit vectors of its works."""

    found: Pending
    vectors: Vectors


class TextReader:
    """The text tower, as both phases use it."""

    def __init__(self, network: RetrievalNetwork, device: Device) -> None:
        self._network = network
        self._device = device

    def batched(self, rows: Sequence[Row], kept: Sequence[int] = ()) -> BatchedRows:
        """See `batch_rows`."""
        positions, folded = self._network.text_encoder.positions, self._device.kernels.folded
        return batch_rows(rows, positions, folded, self._device.upload, kept)

    def vectors(self, texts: Sequence[TextState]) -> Vectors:
        """Starts making the vectors of those of `texts` that have none."""
        new = list(dict.fromkeys(text for text in texts if text.vector is None))
        if not new:
            return Vectors({})
        batched = self.batched([Row(text.ids) for text in new])
        found = dict(zip(batched.order, self._network.text_vectors(batched), strict=True))
        return Vectors({text: found[i].clone() for i, text in enumerate(new)})  # a row would keep the batch alive


class Scorer:
    """The phase `score`. `encoder_id`: the id of `[ENC]`. `calibrations`: of the model, by protocol."""

    def __init__(
        self,
        network: RetrievalNetwork,
        device: Device,
        encoder_id: int,
        calibrations: Mapping[ScoringProtocol, Calibration],
    ) -> None:
        self._network = network
        self._device = device
        self._encoder_id = encoder_id
        self._calibrations = calibrations
        self._reader = TextReader(network, device)
        self._projected = ProjectedImages(network.text_encoder.encoder.project)

    def launch(self, works: Sequence[MatchWork]) -> Scoring:
        """Starts scoring the works' captions."""
        logits, order, seen = self._logits([work for work in works if "itm" in work.scores])
        asking = [work for work in works if "cosine" in work.scores]
        vectors = self._reader.vectors([text for work in asking for _, text in work.texts])
        return Scoring(works, logits, order, seen, self._cosines(asking, vectors), vectors)

    def collect(self, step: Scoring) -> list[Outcome]:
        """Waits for a step, keeps its vectors and projections, and gives each work its scores."""
        found = dict(zip(step.order, step.logits.wait().tolist() if step.logits else (), strict=True))
        logits = iter([found[i] for i in range(len(found))])
        cosines = iter(step.cosines.wait().tolist() if step.cosines else ())
        step.vectors.keep()
        self._projected.keep(step.seen)
        outcomes: list[Outcome] = []
        for work in step.works:
            itm, cosine = ("itm" in work.scores), ("cosine" in work.scores)
            calibration = self._calibrations.get(work.protocol)
            scores = [
                match_scores(next(logits) if itm else None, next(cosines) if cosine else None, calibration)
                for _ in work.texts
            ]
            outcomes.append(_scored(work, scores))
        return outcomes

    def _logits(self, works: Sequence[MatchWork]) -> tuple[Pending | None, Sequence[int], SeenImages]:
        """(R, 2) of the works' captions, their order, and their images. An image is passed once, with all its works."""
        if not works:
            return None, [], NONE_SEEN
        images = list(dict.fromkeys(work.image for work in works))
        number = {image: i for i, image in enumerate(images)}
        rows = [Row(self._ids(text, work), number[work.image]) for work in works for _, text in work.texts]
        seen = self._projected.seen(images, [images[i] for i in crowded(rows, self._device.kernels.folded)])
        batched = self._reader.batched(rows, [number[image] for image in seen.kept])
        tokens = torch.stack([encoded(image.tokens) for image in images])
        logits = self._network.match_logits(batched, tokens, list(seen.kept.values()))
        return self._device.to_host(logits), batched.order, seen

    def _ids(self, text: TextState, work: MatchWork) -> tuple[int, ...]:
        """`paper` puts `[ENC]` in position 0 for matching (salesforce/BLIP:models/blip_retrieval.py)."""
        return text.ids if work.protocol == "hf" else (self._encoder_id, *text.ids[1:])

    def _cosines(self, works: Sequence[MatchWork], vectors: Vectors) -> Pending | None:
        """(R,) of the works' captions in order."""
        if not works:
            return None
        images = torch.stack([encoded(work.image.vector) for work in works for _ in work.texts])
        texts = torch.stack([vectors.of(text) for work in works for _, text in work.texts])
        return self._device.to_host((images * texts).sum(dim=-1))


class Embedder:
    """The phase `embed`."""

    def __init__(self, network: RetrievalNetwork, device: Device) -> None:
        self._device = device
        self._reader = TextReader(network, device)

    def launch(self, works: Sequence[ImageWork | EmbedTextWork]) -> Embedding:
        """Starts making the vectors of the works' texts. An image has its vector already."""
        vectors = self._reader.vectors([work.text for work in works if isinstance(work, EmbedTextWork)])
        found = [
            vectors.of(work.text) if isinstance(work, EmbedTextWork) else encoded(work.image.vector) for work in works
        ]
        return Embedding(self._device.to_host(torch.stack(found)), vectors)

    def collect(self, step: Embedding) -> list[Outcome]:
        """Waits for a step, keeps the texts' vectors, and gives each work its vector."""
        step.vectors.keep()
        return [_finite(((0, tuple(vector)),), vector) for vector in step.found.wait().tolist()]


def match_scores(
    logits: Sequence[float] | None, cosine: float | None, calibration: Calibration | None = None
) -> MatchScores:
    """The scores of a pair, of its logits `(no match, match)`."""
    if logits is None:
        return MatchScores(cosine_score=cosine)
    no_match, match = logits
    probability = logistic(match - no_match)  # softmax, index 1
    calibrated = None if calibration is None else calibration.apply((no_match, match))
    return MatchScores((no_match, match), probability, cosine, calibrated)


def _scored(work: MatchWork, scores: Sequence[MatchScores]) -> Outcome:
    numbers = [n for score in scores for n in (*(score.itm_logits or ()), score.cosine_score) if n is not None]
    return _finite(tuple((index, score) for (index, _), score in zip(work.texts, scores, strict=True)), numbers)


def _finite(result: object, numbers: Sequence[float]) -> Outcome:
    """The result, or a failure if one of its numbers is NaN or infinite."""
    return Done(result) if all(map(math.isfinite, numbers)) else Failed(not_finite())
