"""Whether ranks are those of the script written apart, but where its scores lie so near that rounding decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from eval.official import UNSCORED, Query

NEAR = 1e-5
"""Scores that lie within this are not told apart."""


@dataclass(frozen=True)
class Compared:
    """How many ranks are equal, how many differ between scores that are `near`, and the queries of all others."""

    equal: int
    near: int
    wrong: Sequence[int]


def compare(queries: Iterable[Query], true: Sequence[Sequence[int]], ours: Sequence[int]) -> Compared:
    """`ours`: the ranks to compare, one a query; `true`: the true documents of each."""
    equal, near, wrong = 0, 0, []
    for number, (query, own, rank) in enumerate(zip(queries, true, ours, strict=True)):
        if query.rank(own) == rank:
            equal += 1
        elif _may_be(query, own, rank):
            near += 1
        else:
            wrong.append(number)
    return Compared(equal, near, wrong)


def _may_be(query: Query, true: Sequence[int], rank: int) -> bool:
    """Whether scores that lie near each other, or cosines near that of the last candidate, can make it this rank."""
    last = query.cosines[query.candidates[-1]]
    doubtful = (query.cosines - last).abs() <= NEAR  # they may be candidates or not
    if doubtful.sum() == 1:
        doubtful[:] = False
    ranges = [_range(query.scores, doubtful, each) for each in true]
    return min(low for low, _ in ranges) <= rank <= min(high for _, high in ranges)


def _range(scores: Tensor, doubtful: Tensor, true: int) -> tuple[int, int]:
    """The least and the highest rank of a document. One that may be a candidate or not may have any."""
    if doubtful[true]:
        return 0, len(scores) - 1
    above = (scores > scores[true] + NEAR) & ~doubtful
    beside = ((scores - scores[true]).abs() <= NEAR) | doubtful
    if scores[true] == UNSCORED:  # its place among those without a score is that of its index
        above = (scores > UNSCORED) & ~doubtful
        beside = doubtful.clone()
        above[:true] |= (scores[:true] == UNSCORED) & ~doubtful[:true]
    beside[true] = False
    return int(above.sum()), int((above | beside).sum())
