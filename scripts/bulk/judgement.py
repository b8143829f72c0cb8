"""Judges a filter of texts against the truth: what it drops, and what it leaves. Knows no model and no picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Origin = Literal["web", "synthetic"]
ORIGINS: tuple[Origin, ...] = ("web", "synthetic")
FALSE_LEFT = 0.01
"""The share of false texts that a data set may hold."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a picture. `score`: the filter's, the higher the better. `true`: as the truth checker says."""

    picture: str
    origin: Origin
    words: str
    score: float
    true: bool


@dataclass(frozen=True, slots=True)
class Filtered:
    """What thresholds make of texts: those below the one of their origin are dropped.

    `precision`: the share of false texts among the dropped. `recall`: the share of the false texts that are dropped.
    `false_left`: the share of false texts among the kept. `true_texts`: different true ones of the same picture that
    are kept. `pictures`: those that keep a true text.
    """

    thresholds: Mapping[Origin, float]
    texts: int
    dropped: int
    precision: float
    recall: float
    false_left: float
    true_texts: int
    pictures: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Web texts alone, synthetic texts alone, and both together: each filtered so that few false texts are left.

    `both`: each origin has its own threshold, that of when it is alone. `at_one`: both have the same.
    """

    web: Filtered
    synthetic: Filtered
    both: Filtered
    at_one: Filtered

    def gains(self, together: Filtered) -> bool:
        """Whether `together` keeps more true texts, and more pictures with one, than either alone, and few false."""
        alone, few = (self.web, self.synthetic), together.false_left <= FALSE_LEFT
        more_texts = all(together.true_texts > each.true_texts for each in alone)
        return few and more_texts and all(together.pictures > each.pictures for each in alone)


def filtered(texts: Sequence[Text], thresholds: Mapping[Origin, float]) -> Filtered:
    """Drops the texts whose score is below the threshold of their origin. Shares of nothing are 0."""
    kept = [text for text in texts if text.score >= thresholds[text.origin]]
    left = sum(not text.true for text in kept)
    dropped, wrong = len(texts) - len(kept), sum(not text.true for text in texts)
    true = {(text.picture, text.words.rstrip(".")) for text in kept if text.true}
    return Filtered(
        thresholds=thresholds,
        texts=len(texts),
        dropped=dropped,
        precision=_share(wrong - left, dropped),
        recall=_share(wrong - left, wrong),
        false_left=_share(left, len(kept)),
        true_texts=len(true),
        pictures=len({picture for picture, _ in true}),
    )


def lowest_threshold(texts: Iterable[Text], false_left: float = FALSE_LEFT) -> float:
    """The lowest score at which at most a share `false_left` of the texts kept are false; infinity if there is none."""
    best, kept, wrong = float("inf"), 0, 0
    down = sorted(texts, key=lambda text: -text.score)
    for score, alike in groupby(down, key=lambda text: text.score):
        for text in alike:
            kept += 1
            wrong += not text.true
        if wrong <= false_left * kept:
            best = score
    return best


def verdict(texts: Sequence[Text], chosen_on: Sequence[Text]) -> Verdict:
    """Judges `texts` at the thresholds that leave few false ones of `chosen_on`."""
    own = {origin: lowest_threshold(of_origin(chosen_on, origin)) for origin in ORIGINS}
    one = lowest_threshold(chosen_on)
    web, synthetic = (filtered(of_origin(texts, origin), {origin: own[origin]}) for origin in ORIGINS)
    return Verdict(web, synthetic, filtered(texts, own), filtered(texts, dict.fromkeys(ORIGINS, one)))


def of_origin(texts: Iterable[Text], origin: Origin) -> list[Text]:
    """Those of one origin."""
    return [text for text in texts if text.origin == origin]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
