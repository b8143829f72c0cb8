"""Puts files in their place whole and durably: under another name, synced, renamed. Knows no format."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


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


def write_file(path: Path, content: bytes) -> None:
    """Writes a whole file, durably. A reader finds the old one or the new one. Raises `OSError`."""
    make_folder(path.parent)
    with _alone_in(path.parent):
        new = NewFile(path)
        try:
            new.stream.write(content)
        except BaseException:
            new.discard()
            raise
        new.commit()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that is filled under another name while inside, and then gets its own; if that fails, it is deleted.

    What an interrupted run left under the other name is replaced; `path` may exist if it is empty. A process that makes
    another beside it waits. Raises `OSError`.
    """
    new = temporary(path)
    make_folder(path.parent)
    with _alone_in(path.parent):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            yield new
            for file in new.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            sync_folder(new)
            new.rename(path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        sync_folder(path.parent)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing here by the same means, where the system can lock a folder. Leaves no file."""
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if fcntl and handle is not None:
            with suppress(OSError):  # such as on some network drives
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def as_name(text: str) -> str:
    """The name of a file or folder that stands for `text`, such as a model's: it is no path, and other texts differ."""
    return quote(text, safe="").replace(".", "%2E")


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
