"""The pointing game: whether a word's map is strongest on the thing that the word names, by method, layer and word.

Of the demo checkpoints, on pictures drawn from other seeds than training's (`demo.pointing`).
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import describe
from bench.markdown import table
from blip_serve.domain import ExplainMethod, Layer
from demo.answering.task import ANSWERING
from demo.captioning.task import CAPTIONING
from demo.explaining import PICTURES, Game, best_layer, play
from demo.files import CHECKPOINTS
from demo.pointing import Hits
from demo.retrieval.task import RETRIEVAL
from demo.task import Task
from demo.world import ATTRIBUTES

TASKS: tuple[Task[Any], ...] = (RETRIEVAL, CAPTIONING, ANSWERING)
ASKED = {"colour": 0.93, "shape": 0.87, "size": 0.87}
"""The least lower bound of the 95% interval, of the retrieval checkpoint's default."""
RESULTS = Path(__file__).with_name("results")
PACKAGES = ("torch", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one checkpoint's game, and its default method and layer."""

    name: str
    game: Game
    method: ExplainMethod
    layer: Layer


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--to", type=Path, default=RESULTS, help="the folder of pointing.md and pointing.jsonl")


def run(options: argparse.Namespace) -> bool:
    """Prints and writes the tables; whether the retrieval checkpoint's default points as well as asked."""
    played = [_played(task, options.pictures) for task in TASKS]
    machine = describe("cpu", PACKAGES)
    page = "\n".join(lines(played, options.pictures))
    options.to.mkdir(parents=True, exist_ok=True)
    rows = [{"machine": machine, "pictures": options.pictures}, *(row for each in played for row in _rows(each))]
    (options.to / "pointing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (options.to / "pointing.md").write_text(page + "\n")
    print(page)
    return met(played[0].game[played[0].method, played[0].layer])


def met(kinds: Mapping[str, Hits]) -> bool:
    """Whether the lower bounds of all kinds of word are as high as asked."""
    return all(kinds[kind].interval[0] >= asked for kind, asked in ASKED.items())


def lines(played: list[Played], pictures: int) -> Iterator[str]:
    """A table a checkpoint, in Markdown."""
    yield f"# The pointing game, {pictures} pictures of two things"
    yield ""
    yield "The share of words whose map is strongest in the box of the thing that they name, with its 95% interval"
    yield "after Wilson; in brackets the share in the smaller box around the thing's very pixels. Bold: the default."
    for each in played:
        yield ""
        yield f"## {each.name}"
        yield ""
        heads = ["method", "layer", *(f"{kind} ({_words(each, kind)} words)" for kind in ASKED)]
        rows = [_line(each, method, layer) for method, layer in each.game]
        chance = ["chance", "", *(f"{each.game[each.method, each.layer][kind].chance:.1%}" for kind in ASKED)]
        yield from table(heads, [*rows, chance], "llrrr")


def _words(played: Played, kind: str) -> int:
    return played.game[played.method, played.layer][kind].words


def _line(played: Played, method: ExplainMethod, layer: Layer) -> list[str]:
    cells = [_cell(played.game[method, layer][kind]) for kind in ASKED]
    default = (method, layer) == (played.method, played.layer)
    return [f"**{method}**" if default else method, str(layer), *cells]


def _cell(hits: Hits) -> str:
    low, high = hits.interval
    return f"{hits.share:.1%} ({low:.1%} to {high:.1%}) [{hits.drawn / hits.words:.1%}]"


def _played(task: Task[Any], pictures: int) -> Played:
    game = play(task, CHECKPOINTS / task.name, pictures)
    method = task.methods[0]
    return Played(f"blip-serve/{task.name}", game, method, best_layer(game, method))


def _rows(played: Played) -> Iterator[dict[str, Any]]:
    for (method, layer), kinds in played.game.items():
        for kind in ATTRIBUTES:
            hits = kinds[kind]
            low, high = hits.interval
            yield {
                "model": played.name,
                "method": method,
                "layer": layer,
                "kind": kind,
                "words": hits.words,
                "hits": hits.hits,
                "low": round(low, 4),
                "high": round(high, 4),
                "drawn": hits.drawn,
                "chance": round(hits.chance, 4),
            }
