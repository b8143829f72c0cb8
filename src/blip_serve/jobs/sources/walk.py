"""Finds the pictures in a folder, by what the files hold. Their names do not matter."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from blip_serve.domain import ImageFormat
from blip_serve.images.header import HEAD_BYTES, sniff
from blip_serve.jobs.rows import STATE
from blip_serve.jobs.sources.files import open_file
from blip_serve.telemetry import printable

NAMED = 3
"""For each reason, how many of the files that are passed over are named."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file or a folder in a folder. `reason`: why it is passed over; `None` for a picture."""

    path: Path
    reason: str | None = None


class PassedOver:
    """Counts the files that are passed over, by reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        """Counts a file."""
        self._counts[reason] += 1
        if len(self._names[reason]) < NAMED:
            self._names[reason].append(printable(name))

    def lines(self) -> list[str]:
        """A line for each reason, with the names of the first few files."""
        more = {reason: ["..."] if count > NAMED else [] for reason, count in self._counts.items()}
        return [
            f"passed over {count:,}, {reason}: {', '.join(self._names[reason] + more[reason])}"
            for reason, count in self._counts.items()
        ]


def walk(folder: Path, formats: Collection[ImageFormat]) -> Iterator[Found]:
    """What is in a folder and its subfolders, sorted by name. Holds the names of the folders that lead to a file only.

    Passed over: hidden files and folders, which systems create (thumbnails, `._a.jpg` on macOS); links that lead out
    of `folder`; links to folders; what is no file; what is not in one of `formats`. The state of bulk runs is left out.
    """
    real = os.path.realpath(folder)
    stack = [iter([Path(folder)])]
    while stack:
        path = next(stack[-1], None)
        if path is None:
            stack.pop()
        elif path != folder and path.name.startswith(STATE):
            continue
        elif path.is_dir() and (path == folder or not (path.name.startswith(".") or path.is_symlink())):
            try:
                stack.append(iter([path / name for name in sorted(os.listdir(path))]))
            except OSError:
                yield Found(path, "not readable")
        else:
            yield Found(path, _reason(path, real, formats))


def _reason(path: Path, real: str, formats: Collection[ImageFormat]) -> str | None:
    if path.name.startswith("."):
        return "hidden"
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(real):
        return "link to elsewhere"
    if not path.is_file():  # opening a pipe would wait for a writer
        return "link to a folder" if path.is_dir() else "no file"
    try:
        with open_file(str(path)) as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return "not readable"
    return None if sniff(head) in formats else f"none of {', '.join(sorted(formats))}"
