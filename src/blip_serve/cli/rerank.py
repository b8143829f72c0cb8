"""`blip-serve rerank`: images in the order they fit a text, or texts an image, without a server."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.one_request import answer, image_source, told_in_a_line
from blip_serve.cli.options import AsJson, Config, Model, Protocol
from blip_serve.domain import Caption
from blip_serve.settings import HARD_LIMIT, Settings
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.relevance import RankBy
from blip_serve.tasks.rerank import RankedDocument, RerankRequest, RerankResult


def rerank(
    images: Annotated[
        list[str] | None, typer.Argument(help="Files or http(s) URLs to order by --query.", metavar="IMAGE")
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
    """Order images by a text, or texts by an image, the best first."""
    settings = Settings.load(config)
    given = [*(images or []), *(document or [])]
    if not given:
        raise typer.BadParameter("give images, or texts with --document", param_hint="IMAGE")
    texts = [Caption(each, f"--document {each!r}") for each in document or []]
    with told_in_a_line():
        request = RerankRequest(
            query=_query(query, query_image),
            documents=(*map(image_source, images or []), *texts),
            rank_by=rank_by,
            top_n=top_n,
            shortlist=shortlist,
            model=model,
            protocol=protocol,
        )
        result = answer(settings, lambda tasks: tasks.rerank.run(request))
    if as_json:
        print(json.dumps([_row(given, ranked) for ranked in result.documents], indent=2))
    else:
        Console().print(_table(given, rank_by, result))


def _query(text: str | None, image: str | None) -> Input:
    if text is not None and image is None:
        return Caption(text, "--query")
    if image is not None and text is None:
        return image_source(image)
    raise typer.BadParameter("give one of --query and --query-image", param_hint="--query")


def _row(given: list[str], ranked: RankedDocument) -> dict[str, object]:
    scores = {name: score for name, score in asdict(ranked.score).items() if score is not None}
    return {"index": ranked.index, "document": given[ranked.index], "relevance_score": ranked.relevance, **scores}


def _table(given: list[str], rank_by: RankBy, result: RerankResult) -> Table:
    table = Table(title=f"{result.model} ({result.protocol})", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("document", overflow="fold")
    table.add_column(f"relevance ({rank_by})", justify="right")
    for place, ranked in enumerate(result.documents, start=1):
        table.add_row(str(place), given[ranked.index], f"{ranked.relevance:.4f}")
    return table
