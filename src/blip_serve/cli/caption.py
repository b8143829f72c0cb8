"""`blip-serve caption`: writes captions of pictures, or answers about them, without a server."""

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from blip_serve.cli.one_request import image_source, is_address, run, told_in_a_line
from blip_serve.cli.options import Config, Model, Protocol
from blip_serve.domain import Caption, GenerationOptions
from blip_serve.errors import InvalidInput, ServiceError
from blip_serve.settings import Settings
from blip_serve.tasks.generate import GenerateRequest
from blip_serve.tasks.service import Tasks

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif"})
"""Files of a folder that are read."""
AT_ONCE = 16
"""Pictures under way at a time."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one picture: a text, or why there is none."""

    image: str
    text: str | None
    error: ServiceError | None = None


def caption(
    images: Annotated[list[str], typer.Argument(help="Files, folders or http(s) URLs.", metavar="IMAGE...")],
    prompt: Annotated[str, typer.Option(help="The caption's beginning, or a question for an answering model.")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in tokens.")] = 20,
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search; 1 is greedy.")] = 1,
    model: Model = None,
    protocol: Protocol = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a picture.")] = False,
    config: Config = None,
) -> None:
    """Caption pictures, one line each; those of a folder in the order of their names.

    A picture that cannot be read is told on standard error, and the others go on; the exit code is then 1.
    """
    settings = Settings.load(config)
    paths = [path for image in images for path in _expand(image)]
    options = GenerationOptions(max_tokens=max_tokens, max_tokens_param="--max-tokens", num_beams=beams)

    def request(image: str) -> GenerateRequest:
        return GenerateRequest(image_source(image), Caption(prompt, "--prompt"), options, 1, model, protocol)

    with told_in_a_line():
        failed = run(settings, lambda tasks: _print_all(tasks, paths, request, as_json))
    sys.exit(1 if failed else 0)


def _expand(image: str) -> Iterator[str]:
    """A file or an address as it is; the pictures of a folder and those below it."""
    if is_address(image):
        yield image
        return
    path = Path(image)
    if not path.exists():
        raise typer.BadParameter(f"{image}: No such file or directory", param_hint="IMAGE")
    if not path.is_dir():
        yield image
        return
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise typer.BadParameter(f"{image}: no pictures in this folder", param_hint="IMAGE")
    yield from map(str, found)


async def _print_all(tasks: Tasks, images: list[str], request: Callable[[str], GenerateRequest], as_json: bool) -> bool:
    """Whether a picture failed. A mistake that is not a picture's ends it all."""
    failed = False
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        progress = bar.add_task("captions", total=len(images))
        async for written in _write_all(tasks, images, request):
            bar.advance(progress)
            if written.error is not None:
                failed = True
                bar.console.print(f"blip-serve: {written.image}: {written.error.message}", markup=False, soft_wrap=True)
            else:
                print(_line(written, as_json), flush=True)
    return failed


def _line(written: Written, as_json: bool) -> str:
    if as_json:
        return json.dumps({"image": written.image, "caption": written.text}, ensure_ascii=False)
    return f"{written.image}\t{written.text}"


async def _write_all(
    tasks: Tasks, images: list[str], request: Callable[[str], GenerateRequest]
) -> AsyncIterator[Written]:
    """The pictures' texts in order, `AT_ONCE` of them being written at a time."""
    waiting = deque(images)
    under_way: deque[asyncio.Task[Written]] = deque()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE:
                under_way.append(asyncio.create_task(_write(tasks, waiting.popleft(), request)))
            yield await under_way[0]
            under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()


async def _write(tasks: Tasks, image: str, request: Callable[[str], GenerateRequest]) -> Written:
    try:
        asked = request(image)
    except typer.BadParameter as error:  # gone, or not to be read
        return Written(image, None, InvalidInput(error.message, param=image))
    try:
        result = await tasks.generate.run(asked)
    except InvalidInput as error:
        if error.param != image:
            raise
        return Written(image, None, error)
    return Written(image, result.texts[0].text)
