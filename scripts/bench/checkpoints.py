"""Checkpoints of full size and random weights, made once and kept in a cache folder."""

import shutil
from pathlib import Path
from typing import Literal

from tests.support.checkpoints import BASE, LARGE, Kind, build

SizeName = Literal["base", "large"]
SIZES = {"base": BASE, "large": LARGE}
SEED = 3


def checkpoint(cache: Path, size: SizeName, kind: Kind) -> Path:
    """The folder of a checkpoint in the hub's format."""
    folder = cache / "checkpoints" / f"{kind}-{size}-{SEED}"
    if not folder.exists():
        print(f"making {folder}", flush=True)
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        build(partial, SIZES[size], kind=kind, seed=SEED)
        partial.rename(folder)
    return folder
