"""The digests of a checkpoint's files, and of the checkpoint: what tells two checkpoints of one name apart."""

import json
from collections.abc import Iterator, Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO

from blip_serve.errors import CheckpointError
from blip_serve.models.files import weight_files

DECIDING = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
"""Files beside the weights that can change an answer."""
MAX_HEADER = 100_000_000
"""Bytes of a safetensors header; the library refuses more."""


def deciding_files(folder: Path) -> list[Path]:
    """The files that decide a checkpoint's answers, those that there are, by name. Raises as `weight_files`."""
    return sorted([*(folder / name for name in DECIDING if (folder / name).exists()), *weight_files(folder)])


def file_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each of these files, by name. Reads them whole: a second for each gigabyte.

    Raises `CheckpointError` naming the file.
    """
    return {file.name: digest_of(file) for file in deciding_files(folder)}


def checkpoint_digest(digests: Mapping[str, str]) -> str:
    """The digest of a checkpoint, `sha256:` and 64 hexadecimal digits, from those of its files."""
    listed = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return f"sha256:{sha256(listed.encode()).hexdigest()}"


def tensor_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each weight's bytes by name; empty for weights that are pickled. Raises as `file_digests`."""
    return {
        name: sha256(data).hexdigest()
        for file in weight_files(folder)
        if file.suffix == ".safetensors"
        for name, data in _tensors(file)
    }


def with_rows_exchanged(folder: Path, name: str) -> str | None:
    """The digest that a weight of two rows would have, were they exchanged. `None` if there is no such weight."""
    for file in weight_files(folder):
        for found, data in _tensors(file) if file.suffix == ".safetensors" else ():
            if found == name:
                middle = len(data) // 2
                return sha256(data[middle:] + data[:middle]).hexdigest()
    return None


def _tensors(file: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of a safetensors file: the header's length in 8 bytes, the header in JSON, the tensors."""
    try:
        with file.open("rb") as opened:
            for name, start, end in _header(opened, file.stat().st_size):
                opened.seek(start)
                yield name, opened.read(end - start)
    except OSError as error:
        raise CheckpointError(file, error.strerror or "not readable") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise CheckpointError(file, "its header is damaged, or it ends too early") from None


def _header(opened: BinaryIO, size: int) -> Iterator[tuple[str, int, int]]:
    """Each tensor's name, and where its bytes begin and end.

    Raises `ValueError` if that is outside the file, or they are more than it holds.
    """
    length, total = int.from_bytes(opened.read(8), "little"), 0
    if length > min(size, MAX_HEADER):
        raise ValueError
    for name, about in json.loads(opened.read(length)).items():
        if name != "__metadata__":
            start, end = (8 + length + int(offset) for offset in about["data_offsets"])
            total += end - start
            if not 8 + length <= start <= end <= size or total > size:
                raise ValueError
            yield name, start, end


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises `CheckpointError` if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(file, error.strerror or "not readable") from None
