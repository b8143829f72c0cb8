"""The pictures that a command is given: files, addresses, and what folders hold; in turns, where they are many."""

import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from tqdm import tqdm

from blip_serve.errors import InvalidInput
from blip_serve.images.decode import Decoder
from blip_serve.images.header import HEAD_BYTES
from blip_serve.images.local import is_address, source_of
from blip_serve.images.reference import ImageSource
from blip_serve.telemetry import printable

R = TypeVar("R")

NAMED = 3
"""Files that are named of those passed over for the same reason."""


def pictures(given: Sequence[str], decoder: Decoder) -> list[str]:
    """Files and addresses as they are given, and for a folder the pictures in it and below, in the order of names.

    A picture is what begins like one that `decoder` reads, whatever its name; files that are none, and hidden ones,
    are counted on standard error. Raises `typer.BadParameter` for what is not there, and a folder without a picture.
    """
    return [image for each in given for image in _expand(each, decoder)]


def image_source(image: str) -> ImageSource:
    """A file, an http(s) URL or a data URI as a source; its name is its field.

    Raises `typer.BadParameter` for a file that cannot be read, `InvalidInput` for a URL that is none.
    """
    try:
        return source_of(image, image)
    except OSError as error:
        raise typer.BadParameter(f"{image}: {error.strerror}", param_hint="IMAGE") from None


async def in_turns(
    images: Sequence[str], at_once: int, ask: Callable[[tuple[ImageSource, ...]], Awaitable[R]]
) -> AsyncIterator[tuple[list[str], R]]:
    """Asks about `at_once` images at a time: those of a turn, and the answer.

    One that cannot be read is told on standard error, and asked without; what else is wrong is raised.
    """
    for start in range(0, len(images), at_once):
        sources = list(_readable(images[start : start + at_once]))
        while sources:
            try:
                answer = await ask(tuple(sources))
            except InvalidInput as error:
                good = [source for source in sources if source.param != error.param]
                if len(good) == len(sources):
                    raise
                tell(str(error.param), error.message)
                sources = good
            else:
                yield [source.param for source in sources], answer
                break


def tell(image: str, what: str) -> None:
    """A line on standard error about a picture, above the progress bar if there is one."""
    tqdm.write(f"blip-serve: {printable(image)}: {what}", file=sys.stderr)


def _readable(images: Sequence[str]) -> Iterator[ImageSource]:
    for image in images:
        try:
            yield image_source(image)
        except typer.BadParameter as error:  # gone, or not to be read
            tell(image, error.message)
        except InvalidInput as error:
            tell(image, error.message)


def _expand(image: str, decoder: Decoder) -> list[str]:
    path = Path(image)
    if is_address(image) or path.is_file():
        return [image]
    if not path.exists():
        raise typer.BadParameter(f"{image}: No such file or directory", param_hint="IMAGE")
    return _pictures_of(path, decoder) if path.is_dir() else [image]


def _pictures_of(folder: Path, decoder: Decoder) -> list[str]:
    found: list[Path] = []
    passed_over: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(_files(folder, passed_over["not readable"])):
        reason = _why_not(path, decoder)
        (passed_over[reason] if reason else found).append(path)
    _count(folder, passed_over)
    if not found:
        raise typer.BadParameter(f"{folder}: no pictures in this folder", param_hint="IMAGE")
    return [str(path) for path in found]


def _files(folder: Path, unreadable: list[Path]) -> Iterator[Path]:
    """What is in a folder and below, but for what hidden folders hold: those come as they are. Follows no links."""
    for place, folders, files in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = [name for name in folders if name not in hidden]
        yield from (Path(place) / name for name in (*files, *hidden))


def _why_not(path: Path, decoder: Decoder) -> str | None:
    """Why a file of a folder is passed over. Systems leave hidden ones there: thumbnails, and `._a.jpg` of macOS."""
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():  # opening a pipe would wait for whoever writes to it
        return "no file"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return "not readable"
    return None if decoder.reads(head) else f"none of {', '.join(sorted(decoder.formats))}"


def _count(folder: Path, passed_over: Mapping[str, list[Path]]) -> None:
    for reason, paths in passed_over.items():
        if paths:
            names = [printable(str(path.relative_to(folder))) for path in paths[:NAMED]]
            more = ["..."] if len(paths) > NAMED else []
            print(
                f"blip-serve: {printable(str(folder))}: passed over {len(paths)}, {reason}: {', '.join(names + more)}",
                file=sys.stderr,
            )
