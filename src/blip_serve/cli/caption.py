"""`blip-serve caption`: captions pictures, or answers a question about them, without a server."""

import json
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_run import run_bulk
from blip_serve.cli.one_request import exit_on_error, run
from blip_serve.cli.options import Config, Model, Protocol
from blip_serve.cli.pictures import image_source, pictures, report
from blip_serve.domain import Caption, GenerationOptions
from blip_serve.errors import InvalidInput, ServiceError
from blip_serve.images.decode import Decoder
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.window import in_order
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
    prompt: Annotated[
        str,
        typer.Option(help="The caption's beginning; or a question for an answering model, which is not for --sidecar."),
    ] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in tokens.")] = 20,
    beams: Annotated[int, typer.Option(min=1, help="Beams of the search; 1 is greedy.")] = 1,
    model: Model = None,
    protocol: Protocol = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a picture.")] = False,
    sidecar: Annotated[
        str | None,
        typer.Option("--sidecar", help="Write captions into files beside the pictures of a folder, such as .txt."),
    ] = None,
    config: Config = None,
) -> None:
    """Caption pictures, one line each; those of a folder in the order of their names.

    A picture that cannot be read is reported on standard error, and the others go on; the exit code is then 1.
    With --sidecar it is `bulk caption`: pictures that have such a file are skipped.
    """
    options = GenerationOptions(max_tokens=max_tokens, max_tokens_param="--max-tokens", num_beams=beams)
    if sidecar is not None:
        if len(images) > 1 or not Path(images[0]).is_dir():
            raise typer.BadParameter("with --sidecar give one folder", param_hint="IMAGE...")
        bulk = BulkOptions(sources=images, sidecar=sidecar, as_json=as_json, config=config)
        run_bulk("caption", bulk, CaptionOperator(prompt, options, serving=Serving(model, protocol)))
    settings = local_settings(config)
    paths = pictures(images, Decoder(settings.images))

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
        async with aclosing(in_order(iter(images), lambda image: _write(blip, image, request), AT_ONCE)) as texts:
            async for written in texts:
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
