"""`blip-serve explain`: where a picture shows each word of a caption, without a server."""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from blip_serve.cli.heat_files import HeatFiles
from blip_serve.cli.one_request import answer, exit_on_error
from blip_serve.cli.options import AsJson, Config, Model, Protocol
from blip_serve.cli.pictures import in_turns, pictures
from blip_serve.cli.tables import Name, table_of, words
from blip_serve.domain import Caption, ExplainMethod, Explanation, ImageBytes, Layer, Per
from blip_serve.heat import strongest
from blip_serve.images.decode import Decoder
from blip_serve.images.fetch import Fetcher
from blip_serve.images.loader import ImageLoader
from blip_serve.images.reference import BytesImage, ImageSource
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.settings import LimitSettings, Settings
from blip_serve.tasks.explain import ExplainResult
from blip_serve.telemetry import printable

_WORDS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9\s]")
"""No fewer than BERT's words: it takes punctuation and Chinese characters singly, but not every other character."""


@dataclass(frozen=True, slots=True)
class Row:
    """A picture, a caption, and where the one shows the words of the other. `files`: one a word, if they are asked for.

    `served`: the model and the protocol.
    """

    image: str
    caption: str
    served: str
    explanation: Explanation
    files: tuple[Path, ...]


def explain(
    images: Annotated[list[str], typer.Argument(help="Files, folders or http(s) URLs.", metavar="IMAGE...")],
    caption: Annotated[list[str], typer.Option("--caption", help="A caption, or a model's own text; repeatable.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write heat over the pictures into this folder, a PNG a word.")
    ] = None,
    method: Annotated[
        ExplainMethod | None, typer.Option(help="How maps are made; that of the model's card where absent.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="INDEX|all", help="Layer of the text tower, from 0; the card's where absent.")
    ] = None,
    per: Annotated[
        Per, typer.Option(help="A map for each word, or one for the caption: the mean of its words.")
    ] = "word",
    question: Annotated[
        str | None, typer.Option("--question", help="The question that the captions answer; for answering models.")
    ] = None,
    model: Model = None,
    protocol: Protocol = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show where a picture matches each word of a caption, in words or as heat over it.

    An image that cannot be read is reported on standard error, and the others go on; the exit code is then 1. With
    --out no file is replaced: a second picture of the same name gets a number.
    """
    settings = local_settings(config)
    decoder = Decoder(settings.images)
    paths = pictures(images, decoder)
    captions = tuple(Caption(text, f"--caption {text!r}") for text in caption)
    chosen = _layer(layer)
    asked = None if question is None else Caption(question, "--question")
    with _writing():
        files = None if out is None else HeatFiles(out, decoder)

    async def ask(blip: AsyncBlipServe) -> list[Row]:
        async with _loader(settings) as loader:

            async def explained(sources: tuple[ImageSource, ...]) -> tuple[list[ImageBytes], ExplainResult]:
                loaded = [await loader.load(source) for source in sources]  # so an address is fetched only once
                return loaded, await blip.explain(
                    [BytesImage(image.data, image.param) for image in loaded],
                    captions,
                    question=asked,
                    method=method,
                    layer=chosen,
                    per=per,
                    model=model,
                    protocol=protocol,
                )

            at_once = _at_once(caption, per, settings.limits)
            turns = in_turns(paths, at_once, explained)
            return [row async for _, turn in turns for row in _rows(*turn, caption, files)]

    with exit_on_error():
        rows = answer(settings, ask)
    if as_json:
        print(json.dumps([_shown(row) for row in rows], indent=2))
    elif rows:
        Console().print(_table(rows))
    if out is not None:
        written = sum(len(row.files) for row in rows)
        print(f"blip-serve: {written} pictures written into {printable(str(out))}", file=sys.stderr)
    sys.exit(len({row.image for row in rows}) < len(set(paths)))


def _at_once(captions: Sequence[str], per: Per, limits: LimitSettings) -> int:
    """The most pictures of a request: they share the words that it may have."""
    words = len(captions) if per == "caption" else sum(len(_WORDS.findall(text)) for text in captions)
    return max(1, min(limits.max_explanations // len(captions), limits.max_explained_words // max(1, words)))


def _layer(given: str | None) -> Layer | None:
    if given is None:
        return None
    if given == "all":
        return "all"
    if not given.isdecimal():
        raise typer.BadParameter("give the index of a layer, or all", param_hint="--layer")
    return int(given)


@contextmanager
def _writing() -> Iterator[None]:
    """Turns an `OSError` inside into exit code 2 and a line that names the file."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--out") from None


@asynccontextmanager
async def _loader(settings: Settings) -> AsyncIterator[ImageLoader]:
    with ThreadPoolExecutor(1) as reader:
        loader = ImageLoader(Fetcher(settings.images.fetch, settings.images.max_bytes), settings.images, reader)
        try:
            yield loader
        finally:
            await loader.aclose()


def _rows(
    loaded: Sequence[ImageBytes], result: ExplainResult, captions: Sequence[str], files: HeatFiles | None
) -> list[Row]:
    """The rows of an answer, in the order of what was given. Writes the files."""
    served = f"{result.model} ({result.protocol})"
    of_images = [files and files.of(image.param, image.data) for image in loaded]
    rows = []
    for each in result.explanations:
        image, of_image = loaded[each.image_index].param, of_images[each.image_index]
        with _writing():
            written = of_image.write(each.caption_index + 1, each.explanation.words) if of_image else ()
        rows.append(Row(image, captions[each.caption_index], served, each.explanation, written))
    return rows


def _shown(row: Row) -> dict[str, object]:
    """The row for JSON. Each word has the name of its file, if one was written."""
    found = asdict(row.explanation)
    width, height = found.pop("size")
    for word, file in zip(found["words"], row.files, strict=False):
        word["file"] = str(file)
    return {"image": row.image, "caption": row.caption, "width": width, "height": height, **found}


def _table(rows: Sequence[Row]) -> Table:
    """A line a word, in the caption's order. The picture and the caption stand at their first word."""
    first = rows[0]
    several = any(row.image != first.image for row in rows)
    table = table_of(f"{first.served}, {first.explanation.method}, layer {first.explanation.layer}")
    if several:
        table.add_column("image")
    table.add_column("caption", overflow="fold")
    table.add_column("word", overflow="fold")
    table.add_column("strongest", no_wrap=True)
    table.add_column("maximum", justify="right", no_wrap=True)
    for row in rows:
        for i, word in enumerate(row.explanation.words):
            table.add_row(
                *([Name(row.image if i == 0 else "")] if several else []),
                words(row.caption if i == 0 else ""),
                words(word.word),
                strongest(word.map),
                f"{word.maximum:#.3g}",
            )
        table.add_section()
    return table
