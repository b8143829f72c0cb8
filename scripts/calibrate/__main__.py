"""Calibrates the demo on blurred, noisy and unseen drawn pairs, and says whether the error fell by half.

    PYTHONPATH=scripts python -m calibrate

The pairs are those of `bulk/pairs.py`, two in three of them true. `blip-serve calibrate` fits on half of them and tests
on the rest. Exit code 1 unless the expected calibration error was at least 0.03 and fell by half.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bulk.pairs import hard_pairs

RAW, HALF = 0.03, 0.5
EXACTLY = {"BLIP_SERVE_DTYPE": "float32"}
SOURCE = "pairs.jsonl"


def write_pairs(count: int, seed: int, folder: Path) -> Path:
    """Draws labelled pairs: pictures in `folder`, and a line for each pair in the file that is returned."""
    source = folder / SOURCE
    with source.open("w") as lines:
        for pair in hard_pairs(count, seed):
            (folder / f"{pair.key}.png").write_bytes(pair.picture)
            line = {"image": f"{pair.key}.png", "caption": pair.text, "label": pair.kind == "right"}
            lines.write(json.dumps(line) + "\n")
    return source


def calibrated(source: Path, to: Path, *options: str) -> dict[str, Any]:
    """The calibration that `blip-serve calibrate` writes to `to`."""
    columns = ("--image", "image", "--caption", "caption", "--label", "label")
    command = (sys.executable, "-m", "blip_serve", "calibrate", str(source), *columns, "--to", str(to), *options)
    subprocess.run(command, env={**os.environ, **EXACTLY}, check=True)
    found: dict[str, Any] = json.loads(to.read_text())
    return found


def met(calibration: dict[str, Any]) -> bool:
    """Whether the error was there, and fell."""
    ece = calibration["ece"]
    return bool(ece["raw"] >= RAW and ece["calibrated"] <= HALF * ece["raw"])


def main() -> None:
    """Draws, calibrates and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chart", type=Path, help="the reliability diagram, as a .png")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        chart = ("--chart", str(options.chart)) if options.chart else ()
        source = write_pairs(options.pairs, options.seed, Path(folder))
        found = calibrated(source, Path(folder) / "calibration.json", *chart)
    ece = found["ece"]
    print(f"{options.pairs} pairs, seed {options.seed}: ECE {ece['raw']:.4f} raw, {ece['calibrated']:.4f} calibrated")
    print(f"at least {RAW} raw, and at most {HALF:.0%} of it calibrated: {met(found)}")
    sys.exit(not met(found))


if __name__ == "__main__":
    main()
