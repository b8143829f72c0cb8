"""A loaded checkpoint beside transformers, its 16-bit form beside float32, and a batch beside items alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any

from blip_serve.architectures import Architecture
from blip_serve.doctor.check import Check, judged, measured, not_checked
from blip_serve.doctor.golden import card_rows, golden_rows
from blip_serve.doctor.trials import Matching, Trial, Writing, trial
from blip_serve.doctor.weights import ANEW
from blip_serve.doctor.weights import PART as WEIGHTS
from blip_serve.domain import AnyModel
from blip_serve.errors import CheckpointError, ConfigurationError, ServiceError
from blip_serve.models.files import weight_files

PARITY, DRIFT = "transformers", "number type"
CLOSE = 1e-4
"""Largest difference of a logit or a cosine in float32. On CPUs the tests hold 1e-5; another processor may sum in
another order. What BLIP's traps change is a hundred times larger."""
DRIFTED = 0.05
"""Largest difference of a probability or a cosine in 16 bits from float32 (seen with random weights: 0.02)."""
DRIFTED_TOKEN = 0.2
"""The same of the log-probability of a token, on average over a text."""
TYPES = ("float32", "bfloat16", "float16")
SMALL_BYTES = 100_000_000
"""Weights up to which 16 bits are also measured where the service uses float32: a CPU that emulates them takes minutes
for an image at base size."""
OURS = "update blip-serve and transformers to versions that fit (see the rows of packages), and report it"
WIDER = "set dtype: float32, or bfloat16, which holds larger numbers than float16"

Load = Callable[[str], AnyModel]
"""Loads the checkpoint in a number type. Raises `CheckpointError`, and `ConfigurationError` without the device."""


@dataclass(slots=True)
class Figures:
    """What is kept as a finding, by what was compared: largest differences, and counts."""

    found: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, difference: float) -> None:
        """Keeps the largest."""
        self.found[name] = max(self.found.get(name, 0.0), difference)

    def count(self, name: str, more: int) -> None:
        """Keeps the sum."""
        self.found[name] = self.found.get(name, 0) + more


def parity(
    folder: Path,
    card_id: str,
    architecture: Architecture,
    load: Load,
    dtype: str,
    golden: Path | None,
    figures: Figures,
) -> Iterator[Check]:
    """The rows. `dtype`: the number type that the service would use. `golden`: BLIP's demo.jpg."""
    asked = trial(architecture)
    try:
        model = load("float32")
    except CheckpointError as error:
        yield judged(WEIGHTS, "loads", False, error.brief, "loads", ANEW)
        yield not_checked(PARITY, "all", "it does not load", "do first what the failed rows say")
        return
    yield judged(WEIGHTS, "loads", True, "loads", "loads", "")
    found = asked.answers(model, together=True)
    yield from _beside_transformers(asked, found, asked.reference(folder), figures)
    yield from _batched(asked, found, asked.answers(model, together=False), figures)
    yield from card_rows(card_id, model)
    if golden is not None:
        yield from golden_rows(card_id, model, golden)
    exact = asked.likelihoods(model, [each.text for each in found]) if isinstance(asked, Writing) else found
    texts = [each.text for each in found] if isinstance(asked, Writing) else []
    del model
    small = sum(file.stat().st_size for file in weight_files(folder)) < SMALL_BYTES
    for name in TYPES[1:]:
        if dtype == name or (dtype == "float32" and small):
            yield _drift(asked, load, name, exact, texts, name == dtype, figures)


def _beside_transformers(
    asked: Trial, found: Sequence[Any], expected: Sequence[Any], figures: Figures
) -> Iterator[Check]:
    rows = dict.fromkeys(each.row for each in asked.asked)
    for row in rows:
        pairs = [(one, other) for each, one, other in zip(asked.asked, found, expected, strict=True) if each.row == row]
        if isinstance(asked, Matching):
            for name, shown in (("itm", "ITM logits"), ("cosine", "cosine")):
                far = max(_far(one[name], other[name]) for one, other in pairs)
                figures.note("largest difference from transformers", far)
                yield judged(PARITY, f"{shown}, {row}", far <= CLOSE, f"within {far:.1e}", f"within {CLOSE:.0e}", OURS)
        else:
            wrong = [(one.text, other.text) for one, other in pairs if one.ids != other.ids]
            figures.count("texts that differ from transformers", len(wrong))
            told = f"; {wrong[0][0]!r}, not {wrong[0][1]!r}" if wrong else ""
            seen = f"{len(pairs) - len(wrong)} of {len(pairs)} the same{told}"
            yield judged(PARITY, row, not wrong, seen, "the same, token for token", OURS)


def _batched(asked: Trial, found: Sequence[Any], alone: Sequence[Any], figures: Figures) -> Iterator[Check]:
    name, advice = "in a batch and alone", "report it: a batch must not change an answer"
    if isinstance(asked, Matching):
        far = max(_far(one[each], other[each]) for one, other in zip(found, alone, strict=True) for each in one)
        figures.note("largest difference of a batch", far)
        yield judged(PARITY, name, far <= CLOSE, f"within {far:.1e}", f"within {CLOSE:.0e}", advice)
    else:
        same = sum(one == other for one, other in zip(found, alone, strict=True))
        yield judged(PARITY, name, same == len(found), f"{same} of {len(found)} the same", "the same", advice)


def _far(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest difference; infinite for numbers that are not finite."""
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return max(far if far == far else float("inf") for far in differences)


def _drift(
    asked: Trial, load: Load, dtype: str, exact: Sequence[Any], texts: Sequence[str], used: bool, figures: Figures
) -> Check:
    """How far 16 bits are from float32. Judged if the service uses them, else measured."""
    name = f"drift of {dtype}"
    bound = f"within {DRIFTED:g}" if isinstance(asked, Matching) else f"within {DRIFTED_TOKEN:g} a token"
    try:
        model = load(dtype)
        far, what = _drifted(asked, model, exact, texts)
    except (CheckpointError, ServiceError, ConfigurationError) as error:
        reason = error.brief if isinstance(error, CheckpointError) else str(error)
        return judged(DRIFT, name, False, reason, bound, WIDER) if used else measured(DRIFT, name, reason, "not in use")
    figures.note(f"{name} ({what})", far)
    seen = f"{what} within {far:.1e}"
    return (
        judged(DRIFT, name, far <= float(bound.split()[1]), seen, bound, WIDER)
        if used
        else measured(DRIFT, name, seen, "not in use")
    )


def _drifted(asked: Trial, model: AnyModel, exact: Sequence[Any], texts: Sequence[str]) -> tuple[float, str]:
    if isinstance(asked, Writing):
        return _far(asked.likelihoods(model, texts), exact), "log-likelihood a token"
    found = asked.answers(model, together=True)
    far = max(
        _far([*_matches(one["itm"]), *one["cosine"]], [*_matches(other["itm"]), *other["cosine"]])
        for one, other in zip(found, exact, strict=True)
    )
    return far, "probability and cosine"


def _matches(logits: Sequence[float]) -> list[float]:
    """Probabilities of a match from logits `(no match, match)`, one pair after the other."""
    return [1 / (1 + exp(_bounded(logits[i] - logits[i + 1]))) for i in range(0, len(logits), 2)]


def _bounded(difference: float) -> float:
    """Without overflow in the exponential."""
    return min(difference, 700.0)
