"""The likelihood of given texts, answers to a question or captions of an image: the phase `rank`.

A text's score is the sum of the natural log-probabilities of its tokens. (salesforce/BLIP:models/blip_vqa.py, in
`rank_answer`, sums the training loss, which is smoothed by 0.1. Ours is not smoothed.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from blip_serve.domain import Done, Failed, Outcome
from blip_serve.errors import not_finite
from blip_serve.models.attention import Seen
from blip_serve.models.decoder import NewTokens, Source, TextDecoder
from blip_serve.models.device import Device, Pending
from blip_serve.models.generator import encoded
from blip_serve.models.image_cache import KeysAndValues
from blip_serve.models.ranked_texts import RankedText
from blip_serve.models.text_batches import buckets, padded
from blip_serve.models.text_works import RankWork


@dataclass(frozen=True, slots=True)
class Ranking:
    """A `rank` step under way: (R,) log-likelihoods of the works' texts, in order."""

    works: Sequence[RankWork]
    likelihoods: Pending


@dataclass(frozen=True, slots=True)
class Row:
    """A text, and what it is scored against."""

    source: Source
    text: RankedText


class Ranker:
    """Scores texts by a decoder."""

    def __init__(self, decoder: TextDecoder, device: Device) -> None:
        self._decoder = decoder
        self._device = device

    def launch(self, works: Sequence[RankWork]) -> Ranking:
        """Starts scoring the works' texts.

        The sources' keys and values are not kept: a long question's are megabytes, and a request has hundreds of them.
        """
        rows = [Row(work.source, text) for work in works for _, text in work.texts]
        sources = dict.fromkeys(work.source for work in works)
        projected = {source: self._decoder.project(encoded(source)) for source in sources}
        rank = {source: number for number, source in enumerate(sources)}
        parts, order = [], []
        for bucket in buckets([len(row.text.reads) for row in rows]):
            by_source = sorted(bucket, key=lambda i: rank[rows[i].source])
            order += by_source
            parts.append(self._score([rows[i] for i in by_source], projected))
        scores = torch.cat(parts)[self._device.upload(torch.tensor(order).argsort())]
        return Ranking(works, self._device.to_host(scores))

    def collect(self, step: Ranking) -> list[Outcome]:
        """Waits for a step, and gives each work its texts' likelihoods."""
        found = iter(step.likelihoods.wait().tolist())
        return [_outcome(tuple((index, next(found)) for index, _ in work.texts)) for work in step.works]

    def _score(self, rows: Sequence[Row], projected: Mapping[Source, list[KeysAndValues]]) -> Tensor:
        """Texts in the order of their sources -> (B,) log-likelihoods."""
        reads, _ = padded([row.text.reads for row in rows])
        targets, _ = padded([row.text.targets for row in rows])
        wanted, _ = padded([row.text.wanted for row in rows])
        position = torch.arange(reads.shape[1])
        new = NewTokens(
            self._device.upload(reads),
            self._device.upload(position[None]),
            self._device.upload((position <= position[:, None])[None, None]),
            _seen(rows, projected),
        )
        states: Tensor = self._decoder(new, [])
        likelihoods = self._decoder.log_likelihoods(states.flatten(0, 1), self._device.upload(targets.flatten()))
        likelihoods = likelihoods.view(targets.shape).masked_fill(self._device.upload(wanted == 0), 0)
        return likelihoods.sum(dim=1, dtype=torch.float64)  # so that long texts are not rounded more


def _seen(rows: Sequence[Row], projected: Mapping[Source, list[KeysAndValues]]) -> list[list[Seen]]:
    """What each layer's rows attend to."""
    layers = len(projected[rows[0].source])
    counted = [(projected[source], len(list(own))) for source, own in groupby(rows, lambda row: row.source)]
    return [[Seen(*layered[layer], count) for layered, count in counted] for layer in range(layers)]


def _outcome(scores: tuple[tuple[int, float], ...]) -> Outcome:
    if not all(math.isfinite(score) for _, score in scores):
        return Failed(not_finite())
    return Done(scores)
