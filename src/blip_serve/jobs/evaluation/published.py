"""Published figures of BLIP, each with the page that has it. All in per cent, but for CIDEr, which is times 100."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """One source's figures on one data set, by the names that evaluations use."""

    source: str
    figures: Mapping[str, float]


LAVIS = "LAVIS docs/benchmark.rst"
CARDS = "LAVIS dataset cards (the paper's best)"
MMPRETRAIN = "mmpretrain configs/blip (base)"

COCO_PICTURES, FLICKR30K_PICTURES = 5000, 1000
"""In the tests of Karpathy's splits, which the figures of retrieval and captions are of."""

COCO_RETRIEVAL = (
    Published(
        LAVIS, {"TR@1": 82.0, "TR@5": 95.8, "TR@10": 98.1, "IR@1": 64.5, "IR@5": 86.0, "IR@10": 91.7}
    ),
    Published(
        CARDS, {"TR@1": 82.4, "TR@5": 95.4, "TR@10": 97.9, "IR@1": 65.1, "IR@5": 86.3, "IR@10": 91.8}
    ),
    Published(MMPRETRAIN, {"TR@1": 82.52, "TR@5": 95.34, "IR@1": 64.82, "IR@5": 86.28}),
)  # fmt: skip
"""Text and image retrieval on COCO's 5,000 test pictures of Karpathy's split."""
FLICKR30K_RETRIEVAL = (
    Published(LAVIS, {"TR@1": 96.9, "IR@1": 87.5}),
    Published(CARDS, {"TR@1": 97.2, "IR@1": 87.5}),
)
"""The same on Flickr30k's 1,000."""
COCO_CAPTIONS = (
    Published(LAVIS, {"BLEU-4": 39.9, "CIDEr": 133.5}),
    Published(CARDS, {"BLEU-4": 40.4, "CIDEr": 136.7}),
    Published(MMPRETRAIN, {"BLEU-4": 40.12, "CIDEr": 132.82}),
)
"""Captions of COCO's test pictures of Karpathy's split."""
VQA = (
    Published(f"{LAVIS}, test-dev", {"accuracy": 78.23}),
    Published(f"{LAVIS}, test-std", {"accuracy": 78.29}),
    Published(f"{MMPRETRAIN}, test-dev", {"accuracy": 78.20}),
)
"""Accuracy on VQA v2."""


def of_other_pictures(published: int, found: int) -> tuple[str, ...]:
    """What a reader must know where not as many pictures were measured as the published figures are of."""
    note = (
        f"The published figures are of {published:,} pictures, those measured here of {found:,}: they do not compare."
    )
    return () if found == published else (note,)
