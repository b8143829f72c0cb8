"""The comparison of ranks lets pass what rounding may do, and nothing else."""

import torch

from eval.comparison import NEAR, compare
from eval.official import UNSCORED, Query, cleaned


def query(scores: list[float], candidates: list[int], cosines: list[float] | None = None) -> Query:
    near = torch.tensor(cosines or [1.0 if each in candidates else -each / 100 for each in range(len(scores))])
    return Query(torch.tensor(candidates), near, torch.tensor(scores))


def found(given: Query, true: list[int], rank: int) -> str:
    compared = compare([given], [true], [rank])
    return "equal" if compared.equal else "near" if compared.near else "wrong"


SPREAD = [0.9, 0.7, 0.5, UNSCORED, UNSCORED]


def cosines(*last: float) -> list[float]:
    return [0.9, 0.8, *last]


def test_a_rank_between_scores_far_apart_must_be_equal() -> None:
    given = query(SPREAD, [0, 1, 2], cosines(0.7, 0.2, 0.1))
    assert [found(given, [1], rank) for rank in range(3)] == ["wrong", "equal", "wrong"]
    assert [found(given, [1, 2], rank) for rank in range(3)] == ["wrong", "equal", "wrong"]
    assert [found(given, [4], rank) for rank in (3, 4)] == ["wrong", "equal"]


def test_scores_that_lie_together_may_change_places() -> None:
    given = query([0.9, 0.9 + NEAR / 2, 0.5, UNSCORED, UNSCORED], [0, 1, 2], cosines(0.7, 0.2, 0.1))
    assert [found(given, [0], rank) for rank in range(3)] == ["near", "equal", "wrong"]


def test_one_whose_cosine_lies_by_the_last_candidate_s_may_be_one_or_not() -> None:
    given = query(SPREAD, [0, 1, 2], cosines(0.7, 0.7 - NEAR / 2, 0.1))
    assert [found(given, [3], rank) for rank in (0, 3)] == ["near", "equal"]
    assert [found(given, [1], rank) for rank in (0, 1, 2, 3, 4)] == ["wrong", "equal", "near", "near", "wrong"]


def test_captions_are_cleaned_as_by_the_official_code() -> None:
    assert cleaned('A "red" ball: it\'s (very)  big!!\n') == "a red ball it's very big"
    assert cleaned(" ".join(["word"] * 40)) == " ".join(["word"] * 30)
