"""A checkpoint's weights: names, shapes, the tied decoder, and numbers that are none or too large."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from blip_serve.architectures import Architecture
from blip_serve.doctor.check import Check, judged
from blip_serve.lazily import imported

PART = "weights"
INSPECTION = "blip_serve.models.inspection:inspect"
"""Imported when first needed, since it imports torch."""
TOLD = 3
"""Faults that a row lists."""
ANEW = "bring the weights anew: remove the file, then `blip-serve pull`"


def weights(folder: Path, architecture: Architecture, dtype: str) -> Iterator[Check]:
    """The rows, for a model that will compute in `dtype`. Raises `CheckpointError` for a file that cannot be read."""
    found = imported(INSPECTION)(folder, architecture, dtype)
    yield _none("missing weights", found.missing, ANEW, f"none of {found.count}")
    yield _none("unused weights", found.unused, "use a checkpoint of the architecture that config.json names")
    yield _none("shapes", found.misfits, "config.json is not of these weights: bring both anew (`blip-serve pull`)")
    if architecture.tasks[0] != "match":
        tied = "the output's weights must be the word embeddings: save the checkpoint with tied weights"
        yield _none("tied decoder", found.untied, tied)
    yield _none("finite numbers", found.not_finite, ANEW)
    if dtype != "float32":
        yield _none(f"numbers that fit {dtype}", found.too_large, "set dtype: bfloat16 or float32")


def _none(name: str, faults: Sequence[str], advice: str, good: str = "none wrong") -> Check:
    more = f" and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
    return judged(PART, name, not faults, "; ".join(faults[:TOLD]) + more if faults else good, good, advice)
