"""All that is wrong with a checkpoint's weights, where a load stops at the first fault. Loads no network.

The names and shapes are those of our network for the architecture, and the rules those of `models/weights.py`.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from blip_serve.architectures import Architecture
from blip_serve.lazily import imported
from blip_serve.models.config import read_config
from blip_serve.models.files import weight_files
from blip_serve.models.weights import IGNORED, TIED, Held, is_tied, misfit, read_state


@dataclass(frozen=True, slots=True)
class Inspection:
    """Faults by kind, each naming the file and the weight. `count`: the weights that the network has.

    `untied`: copies of a tied weight that differ from it. `not_finite`: NaN and infinities. `too_large`: numbers that
    the number type cannot hold.
    """

    count: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    misfits: tuple[str, ...]
    untied: tuple[str, ...]
    not_finite: tuple[str, ...]
    too_large: tuple[str, ...]


def inspect(folder: Path, architecture: Architecture, dtype: str) -> Inspection:
    """Reads all weights, memory-mapped. Raises `CheckpointError` for a file that cannot be read."""
    state = {name: held for name, held in read_state(weight_files(folder)).items() if not name.endswith(IGNORED)}
    config = read_config(folder)
    with torch.device("meta"):
        expected = dict(imported(architecture.model).network_class(config).named_parameters())
    twice = {name for name in TIED if name in state and TIED[name] in state}
    untied = {name for name in twice if not is_tied(name, state)}
    known = expected.keys() & state.keys()
    fits = {name: misfit(state[name].tensor, expected[name]) for name in sorted(known)}
    numbers = {name: _numbers(state[name], getattr(torch, dtype)) for name, fault in fits.items() if fault is None}
    return Inspection(
        count=len(expected),
        missing=tuple(sorted(expected.keys() - state.keys())),
        unused=tuple(_at(state, name) for name in sorted(state.keys() - expected.keys() - twice)),
        misfits=tuple(f"{_at(state, name)} {fault}" for name, fault in fits.items() if fault),
        untied=tuple(_at(state, name) for name in sorted(untied)),
        not_finite=tuple(_at(state, name) for name, found in numbers.items() if found == "not finite"),
        too_large=tuple(_at(state, name) for name, found in numbers.items() if found == "too large"),
    )


def _at(state: dict[str, Held], name: str) -> str:
    return f"{state[name].file.name}: {name}"


def _numbers(held: Held, dtype: torch.dtype) -> str | None:
    """What is wrong with a tensor's numbers, from its smallest and largest."""
    ends = torch.stack(torch.aminmax(held.tensor.float()))  # there is no minimum of 8-bit types
    if not ends.isfinite().all():
        return "not finite"
    return None if ends.to(dtype).isfinite().all() else "too large"
