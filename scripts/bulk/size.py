"""Memory of bulk runs as the rows grow, and how long a run of a million rows takes to plan and to go on.

The runs are processes of the command line. Memory: the most that a process had, as the system counted it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from blip_serve.catalogue import EMBEDDED

FEW, MANY = 5_000, 50_000
"""Rows between which memory must not grow."""
GROWTH = 0.05
MILLION, DONE = 1_000_000, 990_000
SECONDS, MEGABYTES = 30, 200
"""To plan and go on, and above the process at rest."""
PICTURES = sorted((EMBEDDED / "pictures").glob("*.png"))


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took: seconds, seconds on the cores, and megabytes at most."""

    seconds: float
    cpu: float
    megabytes: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--folder", type=Path, help="where the rows and the results lie meanwhile")
    parser.add_argument("--many", type=int, default=MANY, help="rows of the larger run of the first part")
    parser.add_argument("--million", type=int, default=MILLION, help="rows of the second part")


def run(options: argparse.Namespace) -> bool:
    """Measures both. Whether what was asked for is met."""
    with TemporaryDirectory(dir=options.folder) as folder:
        return all([flat(Path(folder), options.many), resumed(Path(folder), options.million)])


def flat(folder: Path, many: int) -> bool:
    """Whether memory is the same for many rows as for few: of JSONL and of a folder, by the demo model."""
    jsonl = _grown("embed of JSONL", folder, many, _lines, ["embed", "--root", "/"])
    photos = _grown("embed of a folder", folder, many, _photos, ["embed"])
    return jsonl and photos


def _grown(name: str, folder: Path, many: int, make: Callable[[Path, int], Path], arguments: Sequence[str]) -> bool:
    """Whether memory does not grow."""
    few, more = (
        _used(*arguments, str(make(folder, rows)), "--to", str(folder / f"{make.__name__}{rows}.jsonl"))
        for rows in (FEW, many)
    )
    growth, rate = more.megabytes / few.megabytes - 1, many / more.seconds
    sizes = f"{few.megabytes:.0f} MB at {FEW:,} rows, {more.megabytes:.0f} MB at {many:,} ({growth:+.1%})"
    print(f"{name}: {sizes}; {rate:.0f} rows/s", flush=True)
    return growth <= GROWTH


def resumed(folder: Path, rows: int) -> bool:
    """Whether a run with 99% of its rows done is soon planned and ended, in bounded memory. A filter needs no model."""
    one, source = _lines(folder, 1), _lines(folder, rows)
    filtering = ("filter", "--by", "score", "--at-least", "0.5")
    rest = _used(*filtering, str(one), "--to", str(folder / "rest.jsonl"))
    command = (*filtering, str(source), "--to", str(folder / "out.jsonl"))
    done = rows * DONE // MILLION
    before = _used(*command, "--limit", str(done))
    planned = _used(*command, "--dry-run")
    after = _used(*command)
    above = after.megabytes - rest.megabytes
    overhead = (before.cpu - rest.cpu) / done * 1e6
    print(f"{done:,} rows of {rows:,}: {before.seconds:.0f} s, {overhead:.0f} us of CPU a row")
    print(f"then planned in {planned.seconds:.1f} s; planned and ended in {after.seconds:.1f} s")
    print(f"{above:.0f} MB above the {rest.megabytes:.0f} MB of a run of one row")
    return planned.seconds < SECONDS and after.seconds < SECONDS and above <= MEGABYTES


def _used(*arguments: str) -> Used:
    """Runs `blip-serve bulk` to its end. Raises `SystemExit` if it fails."""
    started = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "blip_serve", "bulk", *arguments],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)],
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"blip-serve bulk {' '.join(arguments)}: ended with {os.waitstatus_to_exitcode(status)}")
    return Used(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _lines(folder: Path, rows: int) -> Path:
    """Rows of a few pictures, each with a text of its own."""
    path = folder / f"rows{rows}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_rows(rows, PICTURES))
    return path


def _rows(rows: int, pictures: Sequence[Path]) -> Iterator[str]:
    for number in range(rows):
        picture, score = pictures[number % len(pictures)], number * 37 % 1000 / 1000
        row = {"image": str(picture), "alt": f"a red circle, {number}", "score": score}
        yield json.dumps(row) + "\n"


def _photos(folder: Path, rows: int) -> Path:
    """A folder of so many names of a few pictures."""
    photos = folder / f"photos{rows}"
    for number in range(rows):
        below = photos / f"{number // 1000:03d}"
        below.mkdir(parents=True, exist_ok=True)
        os.link(_copy(folder, number % len(PICTURES)), below / f"{number:06d}.png")
    return photos


def _copy(folder: Path, index: int) -> Path:
    path = folder / f"copy{index}.png"
    if not path.exists():
        path.write_bytes(PICTURES[index].read_bytes())
    return path
