"""digests.json: the SHA-256 of a demo's files and weights, by which `blip-serve doctor` knows an altered copy."""

from __future__ import annotations

from pathlib import Path

from blip_serve.models.digests import file_digests, tensor_digests
from demo.files import write_json


def write_digests(folder: Path) -> None:
    """Writes digests.json beside the weights."""
    write_json(folder / "digests.json", {"files": file_digests(folder), "tensors": tensor_digests(folder)})
