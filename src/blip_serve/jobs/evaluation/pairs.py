"""The pairs of a picture and a text that are scored for both directions of retrieval, each once."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from blip_serve.jobs.evaluation.ranking import Indices, Scores


@dataclass(frozen=True, slots=True)
class Pairs:
    """`keys` (N,): of each pair, in order: by picture, then by text. A key is picture * `texts` + text.

    `by_picture` (P, k) and `by_text` (T, k): the pairs of the candidates of each picture, and of each text, as indices
    into `keys`. `texts`: how many distinct ones there are.
    """

    keys: Indices
    by_picture: Indices
    by_text: Indices
    texts: int

    @classmethod
    def of(cls, of_pictures: Indices, of_texts: Indices, distinct: Indices) -> Self:
        """The pairs of candidates: texts (P, k) of each picture, pictures (T, k) of each text.

        `distinct` (T,): for each text its number among the distinct ones.
        """
        texts = int(distinct.max()) + 1
        by_picture = np.arange(len(of_pictures))[:, None] * texts + distinct[of_pictures]
        by_text = of_texts * texts + distinct[:, None]
        keys = np.unique(np.concatenate([by_picture.ravel(), by_text.ravel()]))
        return cls(keys, np.searchsorted(keys, by_picture), np.searchsorted(keys, by_text), texts)

    def texts_of(self, picture: int) -> Indices:
        """The distinct texts that a picture is scored with, in order."""
        first, last = np.searchsorted(self.keys, [picture * self.texts, (picture + 1) * self.texts])
        return self.keys[first:last] - picture * self.texts

    def scores(self, logits: Scores) -> tuple[Scores, Scores]:
        """Those of the candidates of each picture (P, k), and of each text (T, k); `logits` (N,) are of the pairs."""
        return logits[self.by_picture], logits[self.by_text]
