"""Puts files in their place whole and durably: under another name, synced, renamed. Knows no format."""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


class NewFile:
    """A file that is written under another name in its folder. `commit` gives it its own name, `discard` deletes it.

    A file of either name that an interrupted run left is replaced.
    """

    def __init__(self, path: Path) -> None:
        """Raises `OSError` if it cannot be created."""
        make_folder(path.parent)
        self._path, self._temporary = path, temporary(path)
        self._temporary.unlink(missing_ok=True)
        self.stream: BinaryIO = self._temporary.open("xb")

    def commit(self) -> None:
        """Raises `OSError`, such as for a full disk; the file is then discarded."""
        try:
            self.sync()
            self.put()
            sync_folder(self._path.parent)
        except BaseException:
            self.discard()
            raise

    def sync(self) -> None:
        """The first half of `commit`: the bytes are on the disk, under the other name."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()

    def put(self) -> None:
        """The second half of `commit`, but for `sync_folder`, which many files of a folder need only once."""
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leaves no file behind, and the one that stood there before as it was."""
        with suppress(OSError):  # on a full disk closing tries to write again
            self.stream.close()
        self._temporary.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """The name under which a file is written. It is hidden, and the same each time."""
    return path.with_name(f".{path.name}.tmp")


def make_folder(folder: Path) -> None:
    """Creates a folder, durably, and those above it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows syncs no folders
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Deletes a file, and what an interrupted write of it left. It may be missing."""
    path.unlink(missing_ok=True)
    temporary(path).unlink(missing_ok=True)
