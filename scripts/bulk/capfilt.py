"""CapFilt on hard drawn pairs: what its filter drops and leaves, of web texts and of synthetic ones.

`blip-serve bulk capfilt` writes a text for each picture by nucleus sampling, and its filter scores that and the web
text, as the paper does (arXiv:2201.12086). A truth checker says which texts are true.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.machine import describe
from bench.markdown import table
from bulk.judgement import ORIGINS, Filtered, Text, Verdict, filtered, of_origin, verdict
from bulk.pairs import Pair, hard_pairs
from bulk.truth import true_of
from demo.world import Scene

CAPTIONER, FILTER = "blip-serve/demo-captioning", "blip-serve/demo-retrieval"
EXACTLY = {"BLIP_SERVE_DTYPE": "float32"}
"""Settings. In sixteen bits what is sampled depends, here and there, on which rows share a step."""
SOURCE = "pairs.jsonl"
THRESHOLDS = (0.1, 0.5, 0.9)
PACKAGES = ("torch", "transformers", "pillow")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("build/bulk/capfilt.json"), help="the figures as JSON")


def run(options: argparse.Namespace) -> bool:
    """Measures and prints; whether the figure asked for is met."""
    started = time.monotonic()
    texts = scored(options.pairs, options.seed)
    seconds = time.monotonic() - started
    half = len(texts) // 2
    whole, held_out = verdict(texts, texts), verdict(texts[half:], texts[:half])
    met = whole.gains(whole.both)
    figures = {
        "machine": describe("cpu", PACKAGES),
        "pairs": options.pairs,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "by threshold": [asdict(found) for _, found in _rows(texts)],
        "at most 1% false": asdict(whole),
        "the second half, at thresholds of the first": asdict(held_out),
        "met": {"a threshold each": met, "one threshold": whole.gains(whole.at_one)},
    }
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(lines(texts, {"": whole, "second half, thresholds of the first: ": held_out})))
    print(f"\n{options.pairs} pairs, seed {options.seed}, {seconds:.0f} s; figures: {options.to}")
    print(f"more than either alone: {figures['met']}")
    return met


def scored(count: int, seed: int) -> list[Text]:
    """The web text and the synthetic text of each pair, with their scores and their truth."""
    with TemporaryDirectory() as folder:
        pairs = hard_pairs(count, seed)
        scenes = dict(_written(pair, Path(folder)) for pair in pairs)
        rows = _run(Path(folder), seed)
    return [text for row in rows for text in _texts(row, scenes[row["key"]])]


def _written(pair: Pair, folder: Path) -> tuple[str, Scene]:
    """Writes a picture, and its line of `SOURCE`."""
    (folder / f"{pair.key}.png").write_bytes(pair.picture)
    line = {"key": pair.key, "image": f"{pair.key}.png", "text": pair.text}
    with (folder / SOURCE).open("a") as source:
        source.write(json.dumps(line) + "\n")
    return pair.key, pair.scene


def _run(folder: Path, seed: int) -> list[dict[str, Any]]:
    """What `blip-serve bulk capfilt` writes. It keeps every text here, with its score."""
    out = folder / "scored.jsonl"
    columns = ["--text", "text", "--image", "image", "--key", "key"]
    models = ["--captioner", CAPTIONER, "--model", FILTER]
    command = [sys.executable, "-m", "blip_serve", "bulk", "capfilt", str(folder / SOURCE), *columns, *models]
    wanted = [*command, "--at-least", "0", "--seed", str(seed), "--to", str(out), "--json"]
    subprocess.run(wanted, env={**os.environ, **EXACTLY}, stdout=subprocess.DEVNULL, check=True)
    return [json.loads(line) for line in out.read_text().splitlines()]


def _texts(row: dict[str, Any], scene: Scene) -> Iterator[Text]:
    words = {"web": row["text"], "synthetic": row["synthetic"]}
    for origin in ORIGINS:
        score = row[f"{origin}_itm_score"] or 0.0  # of an empty text there is none
        yield Text(row["key"], origin, words[origin], score, true_of(words[origin], scene))


def lines(texts: Sequence[Text], verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    """Two tables in Markdown. `verdicts`: by what stands before their names."""
    heads = ["texts", "threshold", "dropped", "false among the dropped", "false texts found", "false among the kept"]
    yield from table(heads, [_by_threshold(*row) for row in _rows(texts)], "lrrrrr")
    yield ""
    heads = ["at most 1% false", "threshold", "kept", "false among them", "true texts", "pictures with one"]
    yield from table(heads, [_kept(*row) for row in _sides(verdicts)], "lrrrrr")


def _rows(texts: Sequence[Text]) -> Iterator[tuple[str, Filtered]]:
    for origin in ORIGINS:
        for threshold in (0.0, *THRESHOLDS):
            yield origin, filtered(of_origin(texts, origin), {origin: threshold})


def _by_threshold(origin: str, found: Filtered) -> list[str]:
    [threshold] = found.thresholds.values()
    dropped = f"{found.dropped:,} of {found.texts:,}"
    shares = [f"{100 * share:.1f}%" for share in (found.precision, found.recall, found.false_left)]
    return [origin, f"{threshold:g}", dropped, *shares] if threshold else [origin, "none", dropped, "", "", shares[2]]


def _sides(verdicts: Mapping[str, Verdict]) -> Iterator[tuple[str, Filtered]]:
    for prefix, judged in verdicts.items():
        yield f"{prefix}web, filtered", judged.web
        yield f"{prefix}synthetic, filtered", judged.synthetic
        yield f"{prefix}both, each at its threshold", judged.both
        yield f"{prefix}both, at one threshold", judged.at_one


def _kept(name: str, found: Filtered) -> list[str]:
    thresholds = " and ".join(f"{each:.4f}" for each in dict.fromkeys(found.thresholds.values()))
    counts = [f"{found.true_texts:,}", f"{found.pictures:,}"]
    kept = f"{found.texts - found.dropped:,} of {found.texts:,}"
    return [name, thresholds, kept, f"{100 * found.false_left:.2f}%", *counts]
