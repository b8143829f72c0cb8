"""Ways to damage a checkpoint's folder."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], object]

RAN: list[str] = []
"""What code in a file would write to, if it ran."""


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return RAN.append, ("code ran",)


def edit(file: str, change: Callable[[dict[str, object]], object]) -> Damage:
    """Changes a JSON file's object."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))

    return apply


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Changes the weights."""

    def apply(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return apply


def truncate(file: str) -> Damage:
    """Cuts a file in half."""

    def apply(folder: Path) -> None:
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: len(data) // 2])

    return apply


def pickled(content: Callable[[], bytes]) -> Damage:
    """Puts a pickle in the place of the weights."""

    def apply(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content())

    return apply


def code_in_a_pickle() -> bytes:
    """As old PyTorch wrote it."""
    return pickle.dumps({"a": Hostile()}, protocol=2)


def code_in_an_archive(folder: Path) -> None:
    """As PyTorch writes it now."""
    (folder / "model.safetensors").unlink()
    torch.save({"a": Hostile()}, folder / "pytorch_model.bin")
