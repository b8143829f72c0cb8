"""The likelihood of given texts, answers to a question or captions of an image: the phase `rank`.

The decoder reads `[DEC] a1 ... an` and is asked for `a1 ... an [SEP]`; the score is the sum of the natural
log-probabilities (salesforce/BLIP:models/blip_vqa.py:rank_answer sums its training loss, smoothed by 0.1; ours is not).
A caption's beginning stands behind `[DEC]` and is not asked for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from blip_serve.domain import Done, Failed, Outcome, RankItem
from blip_serve.errors import InvalidInput, not_finite
from blip_serve.models.attention import Seen
from blip_serve.models.decoder import Source, TextDecoder, Words
from blip_serve.models.device import Device, Pending
from blip_serve.models.generator import encoded
from blip_serve.models.image_cache import KeysAndValues
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.sequences import Vocabulary
from blip_serve.models.text_batches import buckets, cut, padded
from blip_serve.models.tokenizing import CaptionTokenizer
from blip_serve.settings import caption_cost

RANK = "rank"


@dataclass(frozen=True, slots=True)
class Answer:
    """One text to be scored: the decoder reads `given`, and `asked` is to come at the last places of it."""

    given: tuple[int, ...]
    asked: tuple[int, ...]

    @property
    def targets(self) -> tuple[int, ...]:
        """What is asked for at each place, where anything is."""
        return (*self._unasked, *self.asked)

    @property
    def wanted(self) -> tuple[int, ...]:
        """1 at the places of which something is asked for, 0 at those before them."""
        return (*self._unasked, *(1 for _ in self.asked))

    @property
    def _unasked(self) -> tuple[int, ...]:
        return (0,) * (len(self.given) - len(self.asked))

    @property
    def cost(self) -> int:
        """Of scoring it."""
        return caption_cost(len(self.given))


Piece = tuple[tuple[int, Answer], ...]
"""Some of an item's texts, with their places in it."""


@dataclass(eq=False, slots=True, kw_only=True)
class RankWork(ImageWork):
    """Some texts that are scored against one source."""

    source: Source
    answers: Piece


@dataclass(frozen=True, slots=True)
class Ranking:
    """A `rank` step under way: (R,) log-likelihoods of the works' texts, in order."""

    works: Sequence[RankWork]
    likelihoods: Pending


@dataclass(frozen=True, slots=True)
class Row:
    """A text beside what it is scored against."""

    source: Source
    answer: Answer


class Ranker:
    """A decoder that scores instead of writing."""

    def __init__(self, decoder: TextDecoder, device: Device) -> None:
        self._decoder = decoder
        self._device = device

    def launch(self, works: Sequence[RankWork]) -> Ranking:
        """Starts scoring the works' texts.

        What the sources are projected to is not kept: of a long question it is megabytes, and a request has hundreds.
        """
        rows = [Row(work.source, answer) for work in works for _, answer in work.answers]
        sources = dict.fromkeys(work.source for work in works)
        projected = {source: self._decoder.project(encoded(source)) for source in sources}
        rank = {source: number for number, source in enumerate(sources)}
        parts, places = [], []
        for bucket in buckets([len(row.answer.given) for row in rows]):
            together = sorted(bucket, key=lambda place: rank[rows[place].source])
            places += together
            parts.append(self._score([rows[place] for place in together], projected))
        scores = torch.cat(parts)[self._device.upload(torch.tensor(places).argsort())]
        return Ranking(works, self._device.to_host(scores))

    def collect(self, step: Ranking) -> list[Outcome]:
        """Waits for a step, and gives each work its texts' likelihoods."""
        found = iter(step.likelihoods.wait().tolist())
        return [_outcome(tuple((position, next(found)) for position, _ in work.answers)) for work in step.works]

    def _score(self, rows: Sequence[Row], projected: Mapping[Source, list[KeysAndValues]]) -> Tensor:
        """Texts in the order of their sources -> (B,) log-likelihoods."""
        given, _ = padded([row.answer.given for row in rows])
        asked, _ = padded([row.answer.targets for row in rows])
        wanted, _ = padded([row.answer.wanted for row in rows])
        place = torch.arange(given.shape[1])
        words = Words(
            self._device.upload(given),
            self._device.upload(place[None]),
            self._device.upload((place <= place[:, None])[None, None]),
            _seen(rows, projected),
        )
        states: Tensor = self._decoder(words, [])
        likelihoods = self._decoder.log_likelihoods(states.flatten(0, 1), self._device.upload(asked.flatten()))
        likelihoods = likelihoods.view(asked.shape).masked_fill(self._device.upload(wanted == 0), 0)
        return likelihoods.sum(dim=1, dtype=torch.float64)  # so that long texts are not rounded more


def answers(
    item: RankItem,
    beginning: tuple[int, ...],
    words: Sequence[tuple[int, ...]],
    vocabulary: Vocabulary,
    tokenizer: CaptionTokenizer,
) -> list[Answer]:
    """An item's texts as they are scored behind `beginning`; `words`: their ids.

    Raises `InvalidInput` naming the text: `input_too_long` for one that does not fit the decoder's positions,
    `task_not_supported` for one of which the vocabulary has no single token where that is asked for.
    """
    begun = (vocabulary.begin, *beginning)
    for answer, ids in zip(item.answers, words, strict=True):
        if item.beginnings and (len(ids) != 1 or ids[0] == tokenizer.unknown_id):
            raise InvalidInput(
                f"The model does not know the word '{answer.text}'.", code="task_not_supported", param=answer.param
            )
        if len(begun) + len(ids) > tokenizer.positions:
            raise InvalidInput(
                f"The text has {len(ids)} tokens; the model holds {tokenizer.positions - len(begun)} here.",
                code="input_too_long",
                param=answer.param,
            )
    if item.beginnings:
        return [Answer(begun, ids) for ids in words]
    return [Answer((*begun, *ids), (*ids, vocabulary.end)) for ids in words]


def pieces(answers: Sequence[Answer], limit: int) -> list[tuple[Piece, int]]:
    """All of `answers` in pieces of like length, and what each costs: `limit` at most, unless it is a single one."""
    costs = [answer.cost for answer in answers]
    cuts = cut([len(answer.given) for answer in answers], costs, limit)
    return [(tuple((i, answers[i]) for i in places), sum(costs[i] for i in places)) for places in cuts]


def _seen(rows: Sequence[Row], projected: Mapping[Source, list[KeysAndValues]]) -> list[list[Seen]]:
    """What each layer's rows attend to."""
    layers = len(projected[rows[0].source])
    counted = [(projected[source], len(list(own))) for source, own in groupby(rows, lambda row: row.source)]
    return [[Seen(*layered[layer], count) for layered, count in counted] for layer in range(layers)]


def _outcome(scores: tuple[tuple[int, float], ...]) -> Outcome:
    if not all(math.isfinite(score) for _, score in scores):
        return Failed(not_finite())
    return Done(scores)
