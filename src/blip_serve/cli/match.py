"""`blip-serve match`: scores images against captions here, without a server."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.options import Config
from blip_serve.domain import Caption, ScoringProtocol
from blip_serve.errors import ServiceError
from blip_serve.images.reference import BytesImage, ImageSource, parse_image
from blip_serve.settings import Settings
from blip_serve.tasks.match import MatchRequest, MatchResult
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry

DOWNLOAD_S = 3600.0
"""Time for a first download, a load and the scores."""


def match(
    images: Annotated[list[str], typer.Argument(help="Files or http(s) URLs.", metavar="IMAGE...")],
    caption: Annotated[list[str], typer.Option("--caption", help="A caption; repeatable.")],
    model: Annotated[str | None, typer.Option(help="Id or alias; the configured default where absent.")] = None,
    protocol: Annotated[ScoringProtocol | None, typer.Option(help="Scoring protocol; see the README.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: Config = None,
) -> None:
    """Score every image against every caption."""
    settings = _for_one_request(Settings.load(config))
    captions = tuple(Caption(text, f"--caption {text!r}") for text in caption)
    try:
        request = MatchRequest(tuple(map(_source, images)), captions, model=model, protocol=protocol)
        with Console(stderr=True).status("loading and scoring"):
            result = asyncio.run(_run(settings, request))
    except ServiceError as error:
        print(
            f"blip-serve: {error.param}: {error.message}" if error.param else f"blip-serve: {error.message}",
            file=sys.stderr,
        )
        sys.exit(1)
    if as_json:
        print(json.dumps([_row(images, caption, result, i) for i in range(len(result.pairs))], indent=2))
    else:
        Console().print(_table(images, caption, result))


def _for_one_request(settings: Settings) -> Settings:
    """Loads what is asked for and nothing else, and says nothing of it."""
    models = tuple(model.model_copy(update={"preload": False}) for model in settings.models)
    log = settings.log.model_copy(update={"level": "error"})
    server = settings.server.model_copy(update={"request_timeout_s": DOWNLOAD_S})
    return settings.model_copy(update={"models": models, "log": log, "server": server})


async def _run(settings: Settings, request: MatchRequest) -> MatchResult:
    async with open_service(settings, Telemetry(settings.log)) as tasks:
        return await tasks.match.run(request)


def _source(image: str) -> ImageSource:
    if image.lower().startswith(("http://", "https://", "data:")):
        return parse_image(image, image)
    try:
        return BytesImage(Path(image).read_bytes(), image)
    except OSError as error:
        raise typer.BadParameter(f"{image}: {error.strerror}", param_hint="IMAGE") from None


def _row(images: list[str], captions: list[str], result: MatchResult, index: int) -> dict[str, object]:
    pair = result.pairs[index]
    return {"image": images[pair.image_index], "caption": captions[pair.caption_index], **asdict(pair.score)}


def _table(images: list[str], captions: list[str], result: MatchResult) -> Table:
    table = Table(title=f"{result.model} ({result.protocol})", title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("caption", overflow="fold")
    table.add_column("ITM probability", justify="right")
    table.add_column("cosine", justify="right")
    for pair in result.pairs:
        itm, cosine = pair.score.itm_score, pair.score.cosine_score
        table.add_row(images[pair.image_index], captions[pair.caption_index], f"{itm:.4f}", f"{cosine:.4f}")
    return table
