"""Which files of a folder are a checkpoint's. Reads no weights, imports no torch."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from blip_serve.architectures import ARCHITECTURES, Architecture
from blip_serve.errors import CheckpointError

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
"""Ending of the name of the file that says in which shard each weight is."""
SMALL_FILES = ("*.json", "vocab.txt")
MAX_TEXT = 64 << 20
"""Bytes of a small file that are read. BLIP's have less than one MiB."""


def is_folder(source: str) -> bool:
    """Whether `source` is a local folder."""
    return Path(source).expanduser().is_dir()


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights, chosen as transformers does: one file, or the shards that an index names.

    Raises `CheckpointError` if there is neither, a shard is missing, or the index is wrong.
    """
    for name in (SAFETENSORS, PICKLED):
        if files := files_of(folder, name):
            if missing := _missing(files):
                raise CheckpointError(missing[0], f"not there, though {name}{INDEX} names it")
            return files
    raise CheckpointError(folder, f"holds neither {SAFETENSORS} nor {PICKLED}")


def files_of(folder: Path, name: str) -> list[Path]:
    """The file of that name, or the shards that its index names, even if they are missing. Empty without both.

    Raises `CheckpointError` if the index is wrong.
    """
    whole, index = folder / name, folder / f"{name}{INDEX}"
    if whole.exists():
        return [whole]
    return _shards(index) if index.exists() else []


def _missing(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if not file.exists()]


def _shards(index: Path) -> list[Path]:
    """The files that an index names. Raises `CheckpointError` if it is wrong, or names a file in another folder."""
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(index, "weight_map: must name a file for each weight")
    for shard in shards.values():
        if not isinstance(shard, str) or not _is_name(shard):
            raise CheckpointError(index, f"weight_map: {shard!r} is not the name of a file beside it")
    return [index.with_name(shard) for shard in sorted(set(shards.values()))]


def _is_name(name: str) -> bool:
    """Whether it is a plain file name, not a path to elsewhere."""
    return name not in ("", "..") and name == PurePath(name).name and name.isprintable()


def architecture_of(folder: Path) -> Architecture:
    """The architecture of the checkpoint in `folder`. Raises `CheckpointError` if it is not served."""
    file = folder / "config.json"
    names = read_json(file).get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else "none"
    if name not in ARCHITECTURES:
        raise CheckpointError(file, f"architectures: {name} is not served")
    return ARCHITECTURES[name]


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `CheckpointError` naming the file and the reason."""
    try:
        content = json.loads(read_text(file), object_pairs_hook=_unambiguous)
    except ValueError as error:
        raise CheckpointError(file, f"not JSON: {error}") from None
    except RecursionError:
        raise CheckpointError(file, "not JSON that can be read: nested too deep") from None
    if not isinstance(content, dict):
        raise CheckpointError(file, "not a JSON object")
    return content


def read_text(file: Path) -> str:
    """The text of a small file. Raises `CheckpointError`, and `ValueError` if it is not UTF-8."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_TEXT + 1)
    except OSError as error:
        raise CheckpointError(file, error.strerror or "not readable") from None
    if len(content) > MAX_TEXT:
        raise CheckpointError(file, f"larger than {MAX_TEXT >> 20} MiB")
    return content.decode()


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` if it has a key twice, since readers differ in which one they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"{names.most_common(1)[0][0]!r} stands there twice")
    return found
