"""`python -m bench.against FOLDER`: this checkout's service against the one in FOLDER, row by row.

Both run on the same machine, packages, checkpoints and requests, and take turns within seconds. A row's ratio is the
median of the ratios of its pairs of turns: above 1, this checkout is the worse. The least sure rows have the largest
error, which is the standard error of that median.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.against.checkout import Checkout
from bench.against.groups import GROUPS, Race
from bench.against.turns import Comparison
from bench.bench import CACHE, ROOT
from bench.bodies import Fresh
from bench.markdown import number, table
from bench.pictures import Pictures

PAIRS, PICTURES = 10, 16
BOUND = 1.03
"""A row is worse where its ratio is above this."""
SURE = 2
"""Standard errors beyond which it is no noise. On a busy machine repeat the group, with more `--pairs`."""


def main() -> None:
    """Prints the rows, the worst first, and keeps them in `build/bench/against.md`."""
    parser = argparse.ArgumentParser(prog="bench.against", description=__doc__)
    parser.add_argument("folder", type=Path, help="another checkout; this one is the null check")
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of turns of a short row")
    parser.add_argument("--after", type=Path, default=ROOT, help="a checkout in place of this one")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    before, after = (
        Checkout(name, folder.resolve()) for name, folder in (("before", arguments.folder), ("after", arguments.after))
    )
    before.check()
    after.check()
    pictures = Pictures().take(PICTURES)
    race = Race(before, after, pictures, Fresh(pictures), arguments.pairs)
    started = time.monotonic()
    rows: list[Comparison] = []
    for name in arguments.groups or GROUPS:
        rows += GROUPS[name](race)
        print(f"-- {name}: {time.monotonic() - started:.0f} s since the start", flush=True)
    page = "\n".join(table(["group", "row", "before", "after", "ratio", "quartiles", "error"], _lines(rows), "llrrrrr"))
    (CACHE / "against.md").write_text(f"{before.root} and {after.root}\n\n{page}\n", encoding="utf-8")
    print(page)
    worse = [row for row in rows if row.ratios[1] > BOUND]
    sure = [row.name for row in worse if row.ratios[1] - SURE * row.error > BOUND]
    print(f"{len(worse)} of {len(rows)} rows are worse by more than {BOUND - 1:.0%}")
    print(f"{len(sure)} of them by more than {SURE} errors beyond that: {'; '.join(sure) or 'none'}")


def _lines(rows: Sequence[Comparison]) -> list[list[str]]:
    return [
        [
            row.group,
            row.name,
            f"{number(row.before)} {row.unit}",
            f"{number(row.after)} {row.unit}",
            f"{row.ratios[1]:.3f}",
            f"{row.ratios[0]:.3f} - {row.ratios[2]:.3f}",
            f"{row.error:.3f}",
        ]
        for row in sorted(rows, key=lambda row: -row.ratios[1])
    ]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as well
    main()
