"""Which documents are scored for a query, and the rank of the true ones. In blocks; knows no model.

As salesforce/BLIP:train_retrieval.py, `evaluation` and `itm_eval`, have it; but there the order of equal scores is that
of an unstable sort, and here the one with the lower index goes first.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]  # (N, E), unit
Indices: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float32]

BLOCK = 1 << 22
"""Similarities computed at once. Their order takes eight bytes each."""
UNSCORED = -100.0
"""Score of a document that is no candidate (train_retrieval.py)."""


def candidates(queries: Vectors, documents: Vectors, k: int, block: int = BLOCK) -> tuple[Indices, Scores]:
    """(Q, k) indices of each query's nearest documents, the nearest first, and (Q, k) cosines.

    Where there are fewer documents than `k`, all of them. `block`: similarities computed at once.
    """
    found, cosines = [], []
    rows = max(1, block // len(documents))
    for start in range(0, len(queries), rows):
        near = queries[start : start + rows] @ documents.T
        nearest = np.argsort(-near, axis=1, kind="stable")[:, :k]
        found.append(nearest)
        cosines.append(np.take_along_axis(near, nearest, axis=1))
    return np.concatenate(found), np.concatenate(cosines)


def ranks(found: Indices, scores: Scores, true: Sequence[Sequence[int]], documents: int) -> list[int]:
    """For each query the rank of the best of its `true` documents among all, from 0.

    `found` (Q, k) are its candidates and `scores` (Q, k) theirs.
    """
    return [_rank(*each, documents) for each in zip(found, scores, true, strict=True)]


def _rank(found: Indices, scores: Scores, true: Sequence[int], documents: int) -> int:
    row = np.full(documents, UNSCORED, dtype=np.float32)
    row[found] = scores
    return min(int((row > row[each]).sum() + (row[:each] == row[each]).sum()) for each in true)


def recall(ranks: Sequence[int], at: int) -> float:
    """Of how many queries, in per cent, a true document is among the first `at`."""
    return 100.0 * sum(rank < at for rank in ranks) / len(ranks)
