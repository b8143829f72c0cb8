"""The number that pairs are ranked by."""

from collections.abc import Mapping
from typing import Literal

from blip_serve.domain import PairScore, Score

RankBy = Literal["itm", "cosine", "paper"]
"""`itm`: the probability of a match, 0..1; `cosine`, -1..1; `paper`: the raw match logit + cosine, unbounded."""

NEEDED: Mapping[RankBy, frozenset[Score]] = {
    "itm": frozenset({"itm"}),
    "cosine": frozenset({"cosine"}),
    "paper": frozenset({"itm", "cosine"}),
}
"""The scores each is made of."""


def relevance(score: PairScore, by: RankBy) -> float:
    """The number; `score` holds all that is `NEEDED`. `paper` is salesforce/BLIP:train_retrieval.py's `evaluation`."""
    found = {"itm": score.itm_score, "cosine": score.cosine_score, "paper": _paper(score)}[by]
    if found is None:
        raise ValueError(f"no {by} without its scores")
    return found


def _paper(score: PairScore) -> float | None:
    if score.itm_logits is None or score.cosine_score is None:
        return None
    return score.itm_logits[1] + score.cosine_score
