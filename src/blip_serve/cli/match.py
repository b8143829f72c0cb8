"""`blip-serve match`: scores images against captions, without a server."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.one_request import answer, exit_on_error
from blip_serve.cli.options import AsJson, Config, Model, Protocol
from blip_serve.cli.pictures import in_turns, pictures
from blip_serve.cli.tables import Name, table_of, words
from blip_serve.domain import Caption, MatchScores
from blip_serve.images.decode import Decoder
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.settings import LimitSettings
from blip_serve.tasks.match import MatchResult

Turn = tuple[list[str], MatchResult]


@dataclass(frozen=True, slots=True)
class Row:
    """A pair and its scores."""

    image: str
    caption: str
    score: MatchScores


def match(
    images: Annotated[list[str], typer.Argument(help="Files, folders or http(s) URLs.", metavar="IMAGE...")],
    caption: Annotated[list[str], typer.Option("--caption", help="A caption; repeatable.")],
    model: Model = None,
    protocol: Protocol = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Score every image against every caption.

    The table is sorted by the probability of a match; JSON is in the order of what was given. An image that cannot be
    read is reported on standard error, and the others go on; the exit code is then 1.
    """
    settings = local_settings(config)
    paths = pictures(images, Decoder(settings.images))
    captions = tuple(Caption(text, f"--caption {text!r}") for text in caption)

    async def ask(blip: AsyncBlipServe) -> list[Turn]:
        turns = in_turns(
            paths,
            _at_once(settings.limits, len(captions)),
            lambda sources: blip.match(sources, captions, model=model, protocol=protocol),
        )
        return [turn async for turn in turns]

    with exit_on_error():
        turns = answer(settings, ask)
    rows = [
        Row(names[pair.image_index], caption[pair.caption_index], pair.score)
        for names, result in turns
        for pair in result.pairs
    ]
    if as_json:
        found = [{"image": row.image, "caption": row.caption, **asdict(row.score)} for row in rows]
        print(json.dumps(found, indent=2))
    elif turns:
        Console().print(_table(turns[0][1], rows))
    sys.exit(sum(len(names) for names, _ in turns) < len(paths))


def _at_once(limits: LimitSettings, captions: int) -> int:
    """The number of images that one request with so many captions may have."""
    return max(1, min(limits.max_images, limits.max_pairs // captions))


def _table(result: MatchResult, rows: Sequence[Row]) -> Table:
    """The pairs by probability. If there are several, the first is marked as the best."""
    ordered = sorted(rows, key=lambda row: row.score.itm_score or 0.0, reverse=True)
    several, calibrated = len(rows) > 1, any(row.score.calibrated_score is not None for row in rows)
    table = table_of(f"{result.model} ({result.protocol})")
    if several:
        table.add_column("")
    table.add_column("image")
    table.add_column("caption", overflow="fold")
    table.add_column("ITM probability", justify="right", no_wrap=True)
    if calibrated:
        table.add_column("calibrated", justify="right", no_wrap=True)
    table.add_column("cosine", justify="right", no_wrap=True)
    for row in ordered:
        table.add_row(
            *(["best" if row is ordered[0] else ""] if several else []),
            Name(row.image),
            words(row.caption),
            f"{row.score.itm_score:.4f}",
            *([f"{row.score.calibrated_score:.4f}"] if calibrated else []),
            f"{row.score.cosine_score:.4f}",
        )
    return table
