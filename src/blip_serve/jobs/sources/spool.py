"""Keeps what comes on standard input in a file, so that it can be read again when a run goes on."""

import os
from pathlib import Path
from typing import BinaryIO

from blip_serve.errors import ConfigurationError

BLOCK = 1024 * 1024
NAME = "stdin.jsonl"


def spooled(stream: BinaryIO, folder: Path, max_bytes: int) -> Path:
    """The file in `folder` that holds all of `stream`.

    If it is there from an earlier run, the stream must hold the same, or nothing: then the run goes on with the file.
    Raises `ConfigurationError` for a stream that holds something else, or more than `max_bytes`; and `OSError`.
    """
    path = folder / NAME
    if path.exists():
        _compare(stream, path)
        return path
    if stream.isatty():
        raise ConfigurationError("-: nothing comes on standard input; give it lines of JSON by a pipe")
    part = path.with_suffix(".part")
    try:
        _copy(stream, part, max_bytes)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _copy(stream: BinaryIO, path: Path, max_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = max_bytes
    with path.open("wb") as file:
        while block := stream.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise ConfigurationError(f"-: more than {max_bytes} bytes come on standard input; give a file instead")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _compare(stream: BinaryIO, path: Path) -> None:
    """Block by block, which is as sure as by digests, and ends at the first difference."""
    if stream.isatty() or not (block := stream.read(BLOCK)):
        return
    with path.open("rb") as file:
        while block and file.read(len(block)) == block:
            block = stream.read(BLOCK)
        if block or file.read(1):
            raise ConfigurationError(
                f"-: on standard input comes something else than at the first run, which {path} holds; "
                "give the same again, or nothing to go on with that, or name another destination"
            )
