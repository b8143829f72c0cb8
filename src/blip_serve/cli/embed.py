"""`blip-serve embed`: embeds images and texts as unit vectors, without a server."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.one_request import answer, exit_on_error
from blip_serve.cli.options import Config, Model, Protocol
from blip_serve.cli.pictures import in_turns, pictures
from blip_serve.cli.tables import Name, table_of
from blip_serve.domain import Caption
from blip_serve.images.decode import Decoder
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.tasks.embed import EmbedResult

SHOWN = 4
"""How many numbers of a vector the table shows."""
Turn = tuple[list[str], EmbedResult]


def embed(
    images: Annotated[list[str] | None, typer.Argument(help="Files, folders or http(s) URLs.", metavar="IMAGE")] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="A text; repeatable.")] = None,
    model: Model = None,
    protocol: Protocol = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a vector, instead of a table.")] = False,
    config: Config = None,
) -> None:
    """Embed images and texts in one space: the dot product of two vectors is their cosine.

    An image that cannot be read is reported on standard error, and the others go on; the exit code is then 1.
    """
    settings = local_settings(config)
    paths = pictures(images or [], Decoder(settings.images))
    texts = [Caption(each, f"--text {each!r}") for each in text or []]
    if not paths and not texts:
        raise typer.BadParameter("give images, or texts with --text", param_hint="IMAGE")

    async def ask(blip: AsyncBlipServe) -> list[Turn]:
        turns = [
            turn
            async for turn in in_turns(
                paths, settings.limits.max_images, lambda sources: blip.embed(sources, model=model, protocol=protocol)
            )
        ]
        if texts:
            turns.append(([each.text for each in texts], await blip.embed((), texts, model=model, protocol=protocol)))
        return turns

    with exit_on_error():
        turns = answer(settings, ask)
    if as_json:
        for given, result in turns:
            for each, vector in zip(given, result.vectors, strict=True):
                print(json.dumps({"input": each, "embedding": vector}))
    elif turns:
        Console().print(_table(turns))
    sys.exit(sum(len(given) for given, _ in turns) < len(paths) + len(texts))


def _table(turns: Sequence[Turn]) -> Table:
    result = turns[0][1]
    table = table_of(f"{result.model} ({result.protocol}), {len(result.vectors[0])} dimensions")
    table.add_column("input")
    table.add_column("vector", no_wrap=True)
    for given, result in turns:
        for each, vector in zip(given, result.vectors, strict=True):
            table.add_row(Name(each), ", ".join(f"{number:+.4f}" for number in vector[:SHOWN]) + ", ...")
    return table
