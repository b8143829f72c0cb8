"""The likelihood of given answers to questions: the phase `rank`.

The decoder reads `[DEC] a1 ... an` and is asked for `a1 ... an [SEP]`; the score is the sum of the natural
log-probabilities (salesforce/BLIP:models/blip_vqa.py:rank_answer sums its training loss, smoothed by 0.1; ours is not).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from blip_serve.domain import Done, Failed, Outcome, Progress
from blip_serve.errors import not_finite
from blip_serve.models.attention import Seen
from blip_serve.models.decoder import TextDecoder, Words
from blip_serve.models.device import Device, Pending
from blip_serve.models.generator import encoded
from blip_serve.models.image_cache import KeysAndValues
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.questions import Question
from blip_serve.models.sequences import Vocabulary
from blip_serve.models.text_batches import buckets, padded

RANK = "rank"


@dataclass(eq=False, slots=True, kw_only=True)
class RankWork(ImageWork):
    """Some answers to a question, each the ids of its words, with its position in the item."""

    question: Question
    then: Progress
    answers: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """A `rank` step under way: (R,) log-likelihoods of the works' answers, in order."""

    works: Sequence[RankWork]
    likelihoods: Pending


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to be scored."""

    question: Question
    words: tuple[int, ...]


class Ranker:
    """A decoder that scores instead of writing."""

    def __init__(self, decoder: TextDecoder, vocabulary: Vocabulary, device: Device) -> None:
        self._decoder = decoder
        self._vocabulary = vocabulary
        self._device = device

    def launch(self, works: Sequence[RankWork]) -> Ranking:
        """Starts scoring the works' answers.

        What the questions are projected to is not kept: of a long one it is megabytes, and a request has hundreds.
        """
        answers = [Answer(work.question, words) for work in works for _, words in work.answers]
        questions = dict.fromkeys(work.question for work in works)
        projected = {question: self._decoder.project(encoded(question)) for question in questions}
        rank = {question: number for number, question in enumerate(questions)}
        parts, places = [], []
        for bucket in buckets([len(answer.words) + 1 for answer in answers]):
            together = sorted(bucket, key=lambda place: rank[answers[place].question])
            places += together
            parts.append(self._score([answers[place] for place in together], projected))
        scores = torch.cat(parts)[self._device.upload(torch.tensor(places).argsort())]
        return Ranking(works, self._device.to_host(scores))

    def collect(self, step: Ranking) -> list[Outcome]:
        """Waits for a step, and gives each work its answers' likelihoods."""
        found = iter(step.likelihoods.wait().tolist())
        return [_outcome(tuple((position, next(found)) for position, _ in work.answers)) for work in step.works]

    def _score(self, answers: Sequence[Answer], projected: dict[Question, list[KeysAndValues]]) -> Tensor:
        """Answers in the order of their questions -> (B,) log-likelihoods."""
        given, _ = padded([(self._vocabulary.begin, *answer.words) for answer in answers])
        asked, mask = padded([(*answer.words, self._vocabulary.end) for answer in answers])
        place = torch.arange(given.shape[1])
        words = Words(
            self._device.upload(given),
            self._device.upload(place[None]),
            self._device.upload((place <= place[:, None])[None, None]),
            _seen(answers, projected),
        )
        states: Tensor = self._decoder(words, [])
        likelihoods = self._decoder.log_likelihoods(states.flatten(0, 1), self._device.upload(asked.flatten()))
        likelihoods = likelihoods.view(asked.shape)
        if mask is not None:
            likelihoods = likelihoods.masked_fill(~self._device.upload(mask), 0)
        return likelihoods.sum(dim=1, dtype=torch.float64)  # so that long answers are not rounded more


def _seen(answers: Sequence[Answer], projected: Mapping[Question, list[KeysAndValues]]) -> list[list[Seen]]:
    """What each layer's rows attend to."""
    layers = len(projected[answers[0].question])
    rows = [(projected[question], len(list(own))) for question, own in groupby(answers, lambda row: row.question)]
    return [[Seen(*layered[layer], count) for layered, count in rows] for layer in range(layers)]


def _outcome(scores: tuple[tuple[int, float], ...]) -> Outcome:
    if not all(math.isfinite(score) for _, score in scores):
        return Failed(not_finite())
    return Done(scores)
