"""`blip-serve caption`: captions pictures, or answers a question about them, without a server."""

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from tqdm import tqdm

from blip_serve.cli.one_request import exit_on_error, run
from blip_serve.cli.options import Config, Model, Protocol
from blip_serve.cli.pictures import image_source, pictures, report
from blip_serve.domain import Caption, GenerationOptions
from blip_serve.errors import InvalidInput, ServiceError
from blip_serve.images.decode import Decoder
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.tasks.generate import GenerateRequest
from blip_serve.telemetry import printable

AT_ONCE = 16
"""Pictures in flight at once."""


@dataclass(frozen=True, slots=True)
class Written:
    """The text of one picture, or the error."""

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

    A picture that cannot be read is reported on standard error, and the others go on; the exit code is then 1.
    """
    settings = local_settings(config)
    paths = pictures(images, Decoder(settings.images))
    options = GenerationOptions(max_tokens=max_tokens, max_tokens_param="--max-tokens", num_beams=beams)

    def request(image: str) -> GenerateRequest:
        return GenerateRequest(
            image_source(image), Caption(prompt, "--prompt"), options, model=model, protocol=protocol
        )

    with exit_on_error():
        failed = run(settings, lambda blip: _print_all(blip, paths, request, as_json))
    sys.exit(1 if failed else 0)


async def _print_all(
    blip: AsyncBlipServe, images: list[str], request: Callable[[str], GenerateRequest], as_json: bool
) -> bool:
    """Prints the texts. Returns whether a picture failed. Raises errors that do not concern a single picture."""
    failed = False
    with tqdm(total=len(images), desc="captions", unit="picture", leave=False, disable=None) as bar:
        async for written in _write_all(blip, images, request):
            bar.update()
            if written.error is not None:
                failed = True
                report(written.image, written.error.message)
            else:
                tqdm.write(_line(written, as_json), file=sys.stdout)
                sys.stdout.flush()
    return failed


def _line(written: Written, as_json: bool) -> str:
    """One line of output. Escapes a file's name that would break the line."""
    if as_json:
        line = {"image": written.image, "caption": written.text}
        return json.dumps(line, ensure_ascii=not written.image.isprintable())
    return f"{printable(written.image)}\t{written.text}"


async def _write_all(
    blip: AsyncBlipServe, images: list[str], request: Callable[[str], GenerateRequest]
) -> AsyncIterator[Written]:
    """Generates the texts and yields them in order, with `AT_ONCE` pictures in flight."""
    waiting = deque(images)
    under_way: deque[asyncio.Task[Written]] = deque()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE:
                under_way.append(asyncio.create_task(_write(blip, waiting.popleft(), request)))
            yield await under_way[0]
            under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()


async def _write(blip: AsyncBlipServe, image: str, request: Callable[[str], GenerateRequest]) -> Written:
    try:
        asked = request(image)
    except typer.BadParameter as error:  # the file is missing or not readable
        return Written(image, None, InvalidInput(error.message, param=image))
    try:
        result = await blip.run(asked)
    except InvalidInput as error:
        if error.param != image:
            raise
        return Written(image, None, error)
    return Written(image, result.texts[0].text)
