"""`blip-serve match`: scores images against captions here, without a server."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.one_request import answer, image_source, told_in_a_line
from blip_serve.cli.options import AsJson, Config, Model, Protocol
from blip_serve.domain import Caption
from blip_serve.settings import Settings
from blip_serve.tasks.match import MatchRequest, MatchResult


def match(
    images: Annotated[list[str], typer.Argument(help="Files or http(s) URLs.", metavar="IMAGE...")],
    caption: Annotated[list[str], typer.Option("--caption", help="A caption; repeatable.")],
    model: Model = None,
    protocol: Protocol = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Score every image against every caption."""
    settings = Settings.load(config)
    captions = tuple(Caption(text, f"--caption {text!r}") for text in caption)
    with told_in_a_line():
        request = MatchRequest(tuple(map(image_source, images)), captions, model=model, protocol=protocol)
        result = answer(settings, lambda tasks: tasks.match.run(request))
    if as_json:
        print(json.dumps([_row(images, caption, result, i) for i in range(len(result.pairs))], indent=2))
    else:
        Console().print(_table(images, caption, result))


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
