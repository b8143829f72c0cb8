"""Asks models for explanations, and compares them with the reference."""

from collections.abc import Sequence

import torch

from blip_serve.domain import Caption, ExplainItem, ExplainMethod, Explanation, Layer, Per, ScoringProtocol
from tests.support.explain_reference import Heat
from tests.support.running import image_bytes


def explaining(
    data: bytes,
    captions: Sequence[str],
    method: ExplainMethod | None = None,
    layer: Layer | None = None,
    protocol: ScoringProtocol = "hf",
    *,
    question: str | None = None,
    per: Per = "word",
) -> ExplainItem:
    """An item of one image and some captions."""
    texts = tuple(Caption(text, f"captions[{i}]") for i, text in enumerate(captions))
    asked = None if question is None else Caption(question, "question")
    return ExplainItem(image_bytes(data), texts, asked, method, layer, per, protocol=protocol)


def difference(found: Explanation, expected: Heat) -> float:
    """The largest difference of two maps of the same word, as a share of the expected map's maximum.

    Asserts that both have the same words, at the same places.
    """
    assert [(word.word, word.start, word.end) for word in found.words] == [
        (word.word, word.start, word.end) for word in expected.words
    ]
    worst = 0.0
    for ours, theirs in zip(found.words, expected.words, strict=True):
        apart = (torch.tensor(ours.map) * ours.maximum - theirs.map).abs().max()
        worst = max(worst, float(apart / theirs.map.max()) if theirs.map.max() > 0 else float(apart))
    return worst


def whole_difference(found: Explanation, expected: Heat) -> float:
    """The same of a whole caption's only map."""
    [ours] = found.words
    apart = (torch.tensor(ours.map) * ours.maximum - expected.whole).abs().max()
    return float(apart / expected.whole.max())
