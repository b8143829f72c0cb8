"""`blip-serve embed`: unit vectors of images and texts, without a server."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.one_request import answer, image_source, told_in_a_line
from blip_serve.cli.options import Config, Model, Protocol
from blip_serve.domain import Caption
from blip_serve.settings import Settings
from blip_serve.tasks.embed import EmbedRequest, EmbedResult

SHOWN = 4
"""Numbers of a vector in the table."""


def embed(
    images: Annotated[list[str] | None, typer.Argument(help="Files or http(s) URLs.", metavar="IMAGE")] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="A text; repeatable.")] = None,
    model: Model = None,
    protocol: Protocol = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a vector, instead of a table.")] = False,
    config: Config = None,
) -> None:
    """Embed images and texts in one space: the dot product of two vectors is their cosine."""
    settings = Settings.load(config)
    given = [*(images or []), *(text or [])]
    if not given:
        raise typer.BadParameter("give images, or texts with --text", param_hint="IMAGE")
    texts = [Caption(each, f"--text {each!r}") for each in text or []]
    with told_in_a_line():
        request = EmbedRequest((*map(image_source, images or []), *texts), model=model, protocol=protocol)
        result = answer(settings, lambda tasks: tasks.embed.run(request))
    if as_json:
        for each, vector in zip(given, result.vectors, strict=True):
            print(json.dumps({"input": each, "embedding": vector}))
    else:
        Console().print(_table(given, result))


def _table(given: list[str], result: EmbedResult) -> Table:
    width = len(result.vectors[0])
    table = Table(title=f"{result.model} ({result.protocol}), {width} dimensions", title_justify="left")
    table.add_column("input", overflow="fold")
    table.add_column("vector")
    for each, vector in zip(given, result.vectors, strict=True):
        table.add_row(each, ", ".join(f"{number:+.4f}" for number in vector[:SHOWN]) + ", ...")
    return table
