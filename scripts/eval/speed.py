"""The time of `eval retrieval` at base size in float32 beside that of the script written apart, which reads a part."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.bench import CACHE
from bench.checkpoints import checkpoint
from bench.machine import describe
from bench.markdown import table
from bulk.quiet import QUIET, Watch
from eval.clock import Clock, Taken
from eval.drawn import photographs
from eval.official import Official, Query
from eval.ours import ours

ASKED = {"pairs": 6.0, "all": 4.0}
"""How many times as fast it must be, on the pairs alone and in all."""
PICTURES, TEXTS, K, EVERY = 40, 5, 16, 8
PACKAGES = ("torch", "transformers")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--every", type=int, default=EVERY, help="the script scores every so-manieth query; scaled up")


def run(options: argparse.Namespace) -> bool:
    """Prints a table; whether it is as fast as asked for. Half of the script's part goes before ours, half after."""
    folder, watch = checkpoint(CACHE, "base", "retrieval"), Watch()
    with TemporaryDirectory() as place, TemporaryDirectory() as state:
        drawn = photographs(Path(place), options.pictures, TEXTS)
        texts = [text for own in drawn.texts for text in own]
        official = Official(folder, drawn.pictures, texts, "paper")
        k = min(K, options.pictures)
        before = _query(official.texts_of_pictures(k, options.every)) * options.pictures
        mine = ours(folder, drawn, k, "paper", Path(state))
        after = _query(official.pictures_of_texts(k, options.every)) * len(texts)
    watch.stop()
    sides = {"pairs": (before + after, mine.stages["pairs"]), "all": (official.taken + before + after, mine.taken)}
    print(json.dumps({"machine": describe("cpu", PACKAGES), "options": vars(options) | {"run": None}}))
    head = ("seconds of", "the script", "eval retrieval", "times", "times, by CPU seconds", "asked")
    print("\n".join(table(head, [_row(name, *sides[name]) for name in sides], "lrrrrr")))
    scored = k * (options.pictures + len(texts))
    each = [side.wall / scored for side in sides["pairs"]]
    print(f"\n{scored} pairs: {each[0]:.3f} s each by the script, {each[1]:.3f} s here; {mine.measured.counts}.")
    note = "" if watch.others <= QUIET else ": too much to say anything by the clock"
    print(f"Other processes took {watch.others:.0%} of the cores{note}.")
    return all(script.wall / here.wall >= ASKED[name] for name, (script, here) in sides.items())


def _row(name: str, script: Taken, here: Taken) -> tuple[str, ...]:
    times = (f"{script.wall / here.wall:.1f}", f"{script.cpu / here.cpu:.1f}", f"{ASKED[name]:g}")
    return name, f"{script.wall:.0f} s", f"{here.wall:.1f} s", *times


def _query(queries: Iterator[Query]) -> Taken:
    """The mean of a query. The first one warms up."""
    next(queries)
    clock = Clock()
    count = sum(1 for _ in queries)
    return clock.taken() * (1 / count)
