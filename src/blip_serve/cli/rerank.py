"""`blip-serve rerank`: orders images by a text, or texts by an image, without a server."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.one_request import answer, exit_on_error
from blip_serve.cli.options import AsJson, Config, Model, Protocol
from blip_serve.cli.pictures import image_source, in_turns, pictures
from blip_serve.cli.tables import Name, table_of
from blip_serve.domain import Caption
from blip_serve.images.decode import Decoder
from blip_serve.images.reference import ImageSource
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.settings import HARD_LIMIT
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.relevance import RankBy, relevance
from blip_serve.tasks.rerank import RankedDocument, RerankResult

Turn = tuple[list[str], RerankResult]
Ranked = tuple[str, RankedDocument]


def rerank(
    images: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or http(s) URLs to order by --query.", metavar="IMAGE")
    ] = None,
    query: Annotated[str | None, typer.Option("--query", help="The text to order images by.")] = None,
    query_image: Annotated[str | None, typer.Option("--query-image", help="The image to order texts by.")] = None,
    document: Annotated[list[str] | None, typer.Option("--document", help="A text to be ordered; repeatable.")] = None,
    rank_by: Annotated[RankBy, typer.Option(help="What to sort by; `paper` is match logit + cosine.")] = "itm",
    top_n: Annotated[int | None, typer.Option(min=1, max=HARD_LIMIT, help="How many to print.")] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(min=1, max=HARD_LIMIT, help="Sort by cosine first; only so many of the best again."),
    ] = None,
    model: Model = None,
    protocol: Protocol = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Order images by a text, or texts by an image, the best first.

    An image that cannot be read is reported on standard error, and the others go on; the exit code is then 1.
    """
    settings = local_settings(config)
    paths = pictures(images or [], Decoder(settings.images))
    texts = [Caption(each, f"--document {each!r}") for each in document or []]
    if not paths and not texts:
        raise typer.BadParameter("give images, or texts with --document", param_hint="IMAGE")
    query_input = _query(query, query_image)

    async def ask(blip: AsyncBlipServe) -> list[Turn]:
        async def ranked(documents: Sequence[ImageSource] | Sequence[Caption]) -> RerankResult:
            return await blip.rerank(
                query_input, documents, rank_by=rank_by, shortlist=shortlist, model=model, protocol=protocol
            )

        turns = [turn async for turn in in_turns(paths, settings.limits.max_images, ranked)]
        return [*turns, ([each.text for each in texts], await ranked(texts))] if texts else turns

    with exit_on_error():
        turns = answer(settings, ask)
    given = [*paths, *(each.text for each in texts)]
    best = _best(turns, rank_by, shortlist)[:top_n]
    if as_json:
        print(json.dumps([_row(given, *each) for each in best], indent=2))
    elif turns:
        Console().print(_table(turns[0][1], rank_by, best))
    sys.exit(sum(len(names) for names, _ in turns) < len(given))


def _best(turns: Sequence[Turn], rank_by: RankBy, shortlist: int | None) -> list[Ranked]:
    """The documents of all turns, the best first. The shortlists of the turns are merged to one."""
    found = [(names[ranked.index], ranked) for names, result in turns for ranked in result.documents]
    if shortlist is not None:
        found = sorted(found, key=lambda each: relevance(each[1].score, "cosine"), reverse=True)[:shortlist]
    return sorted(found, key=lambda each: each[1].relevance, reverse=True)


def _query(text: str | None, image: str | None) -> Input:
    if text is not None and image is None:
        return Caption(text, "--query")
    if image is not None and text is None:
        return image_source(image)
    raise typer.BadParameter("give one of --query and --query-image", param_hint="--query")


def _row(given: Sequence[str], document: str, ranked: RankedDocument) -> dict[str, object]:
    scores = {name: score for name, score in asdict(ranked.score).items() if score is not None}
    return {"index": given.index(document), "document": document, "relevance_score": ranked.relevance, **scores}


def _table(result: RerankResult, rank_by: RankBy, best: Sequence[Ranked]) -> Table:
    table = table_of(f"{result.model} ({result.protocol})")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("document")
    table.add_column(f"relevance ({rank_by})", justify="right", no_wrap=True)
    for rank, (document, ranked) in enumerate(best, start=1):
        table.add_row(str(rank), Name(document), f"{ranked.relevance:.4f}")
    return table
