"""Computes the number that pairs are ranked by."""

from collections.abc import Mapping
from typing import Literal

from blip_serve.domain import MatchScores, ScoreName

RankBy = Literal["itm", "cosine", "paper"]
"""`itm`: probability of a match, 0..1. `cosine`: -1..1. `paper`: match logit + cosine, unbounded."""

NEEDED: Mapping[RankBy, frozenset[ScoreName]] = {
    "itm": frozenset({"itm"}),
    "cosine": frozenset({"cosine"}),
    "paper": frozenset({"itm", "cosine"}),
}
"""The scores that each kind of relevance is computed from."""


def relevance(score: MatchScores, by: RankBy) -> float:
    """The relevance by `by`. `paper` is computed as by `evaluation` in salesforce/BLIP:train_retrieval.py.

    Raises `ValueError` if `score` lacks one of the scores that are `NEEDED`.
    """
    found = {"itm": score.itm_score, "cosine": score.cosine_score, "paper": _paper(score)}[by]
    if found is None:
        raise ValueError(f"no {by} without its scores")
    return found


def _paper(score: MatchScores) -> float | None:
    if score.itm_logits is None or score.cosine_score is None:
        return None
    return score.itm_logits[1] + score.cosine_score
