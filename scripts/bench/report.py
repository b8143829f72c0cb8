"""`python -m bench.report FILE.jsonl`: the results as a page of tables and as charts, from their lines alone."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import charts
from bench.markdown import number, table
from bench.measure import Row, read
from bench.ratios import ratios
from bench.targets import Target, targets

SIDES = """\
(a) the model card's code: transformers, float32, eager, pair by pair; (a16) the same in sixteen bits; (a+) a careful \
user's: the image encoded once, its captions in one batch; (b) FastAPI + transformers, one request at a time; \
(c) LitServe + transformers with its batching; (o) OpenVINO, for many clients behind FastAPI; (d) ours over HTTP; \
(d engine) ours without HTTP; (static) ours behind a gate that lets captions through in batches. Medians, with \
quartiles where a row was timed more than once. "times" says how often faster (d) is than the side, in the number type \
of (o) beside that, where it was timed, and else in its fastest."""


def main() -> None:
    """Writes `FILE.md` and the charts beside `FILE.jsonl`."""
    parser = argparse.ArgumentParser(prog="bench.report", description=__doc__)
    parser.add_argument("file", type=Path)
    write(parser.parse_args().file)


def write(file: Path) -> None:
    """The page and the charts, named as `file` is."""
    machine, rows = read(file)
    drawn = charts.draw(rows, file.with_suffix(""), targets(machine))
    file.with_suffix(".md").write_text(page(file.stem, machine, rows, drawn), encoding="utf-8")


def page(name: str, machine: dict[str, str], rows: Sequence[Row], drawn: Sequence[Path]) -> str:
    """The whole page in Markdown."""
    parts = [
        f"# Benchmark: {name}",
        "\n".join(table(["machine", ""], [[key, value] for key, value in machine.items()])),
        SIDES,
        *(f"![{chart.stem}]({chart.name})" for chart in drawn),
        *_targets(targets(machine), rows),
        *(
            _group(group, [row for row in rows if row.group == group])
            for group in dict.fromkeys(row.group for row in rows)
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _targets(asked: Sequence[Target], rows: Sequence[Row]) -> Iterator[str]:
    """What was asked beside what was seen; nothing where none of it was measured."""
    lines = [_target(target, value) for target in asked if (value := target.seen(rows)) is not None]
    if lines:
        yield "## What was asked, and what was seen"
        yield "\n".join(table(["", "asked", "seen", ""], lines, "lrrl"))


def _target(target: Target, value: float) -> list[str]:
    sign = "<=" if target.at_most else ">="
    asked, seen = f"{sign} {target.bound:g} {target.unit}", f"{number(value)} {target.unit}"
    return [target.says, asked, f"**{seen}**", "yes" if target.met(value) else "no"]


def _group(group: str, rows: Sequence[Row]) -> str:
    times = {id(each.row): f"{number(each.times)}x" for each in ratios(rows) if each.row.side != "torch"}
    heads = ["row", "side", "checkpoint", "median", "quartiles", "times", "note"]
    lines = [
        [
            _name(row),
            row.side,
            row.model,
            f"{number(row.median)} {row.unit}",
            _quartiles(row),
            times.get(id(row), ""),
            row.note,
        ]
        for row in sorted(rows, key=_order(rows))
    ]
    used = [place for place in range(len(heads)) if any(line[place] for line in lines)]
    lines = [[line[place] for place in used] for line in lines]
    marks = "".join("lllrrrl"[place] for place in used)
    return f"## {group.capitalize()}\n\n" + "\n".join(table([heads[place] for place in used], lines, marks))


def _order(rows: Sequence[Row]) -> Callable[[Row], tuple[int, float]]:
    """Rows of one name together, in the order in which the names came."""
    names = {name: place for place, name in enumerate(dict.fromkeys((row.name, row.model.split()[0]) for row in rows))}
    return lambda row: (names[row.name, row.model.split()[0]], row.x or 0.0)


def _name(row: Row) -> str:
    return row.name if row.x is None else f"{row.name}, at {row.x:.3g}" if row.x < 1000 else f"{row.name}, at {row.x:g}"


def _quartiles(row: Row) -> str:
    return "" if row.low == row.high else f"{number(row.low)} - {number(row.high)}"


if __name__ == "__main__":
    main()
