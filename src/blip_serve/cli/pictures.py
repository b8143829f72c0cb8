"""The pictures given to a command: files, URLs, folders. Splits many pictures into several requests."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from tqdm import tqdm

from blip_serve.errors import InvalidInput
from blip_serve.images.decode import Decoder
from blip_serve.images.local import is_address, source_of
from blip_serve.images.reference import ImageSource
from blip_serve.jobs.sources.walk import PassedOver, walk
from blip_serve.telemetry import printable

R = TypeVar("R")


def pictures(given: Sequence[str], decoder: Decoder) -> list[str]:
    """The given files and URLs. A folder stands for all pictures in it and in its subfolders, sorted by name.

    A file in a folder is a picture if `decoder` reads its format; its name does not matter. Other files and hidden
    files are skipped and counted on standard error. Raises `typer.BadParameter` for a path that does not exist, and for
    a folder without pictures.
    """
    return [image for each in given for image in _expand(each, decoder)]


def image_source(image: str) -> ImageSource:
    """The source of a file, an http(s) URL or a data URI. Errors name `image` as their field.

    Raises `typer.BadParameter` for a file that cannot be read, `InvalidInput` for an invalid URL.
    """
    try:
        return source_of(image, image)
    except OSError as error:
        raise typer.BadParameter(f"{image}: {error.strerror}", param_hint="IMAGE") from None


async def in_turns(
    images: Sequence[str], at_once: int, ask: Callable[[tuple[ImageSource, ...]], Awaitable[R]]
) -> AsyncIterator[tuple[list[str], R]]:
    """Calls `ask` with `at_once` images at a time. Yields each group of images with its answer.

    An image that cannot be read is reported on standard error and left out. Other errors are raised.
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
                report(str(error.param), error.message)
                sources = good
            else:
                yield [source.param for source in sources], answer
                break


def report(image: str, message: str) -> None:
    """Prints a line about a picture to standard error, above the progress bar if there is one."""
    tqdm.write(f"blip-serve: {printable(image)}: {printable(message)}", file=sys.stderr)


def _readable(images: Sequence[str]) -> Iterator[ImageSource]:
    for image in images:
        try:
            yield image_source(image)
        except typer.BadParameter as error:  # the file is missing or not readable
            report(image, error.message)
        except InvalidInput as error:
            report(image, error.message)


def _expand(image: str, decoder: Decoder) -> list[str]:
    path = Path(image)
    if is_address(image) or path.is_file():
        return [image]
    if not path.exists():
        raise typer.BadParameter(f"{image}: No such file or directory", param_hint="IMAGE")
    return _pictures_of(path, decoder) if path.is_dir() else [image]


def _pictures_of(folder: Path, decoder: Decoder) -> list[str]:
    found: list[str] = []
    passed_over = PassedOver()
    for each in walk(folder, decoder.formats):
        if each.reason:
            passed_over.add(each.reason, str(each.path.relative_to(folder)))
        else:
            found.append(str(each.path))
    for line in passed_over.lines():
        print(f"blip-serve: {printable(str(folder))}: {line}", file=sys.stderr)
    if not found:
        raise typer.BadParameter(f"{folder}: no pictures in this folder", param_hint="IMAGE")
    return found
