"""What the benchmark is to show, by machine, beside what was seen. Base size on a CPU of 2 cores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.machine import multiplies_sixteen_bits
from bench.measure import Row
from bench.ratios import ratios

BESIDE = "beside background work"
Seen = Callable[[Sequence[Row]], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked: `seen` of the rows at least, or at most, `bound`, in `unit`; `group` and `name` are its row's."""

    group: str
    name: str
    says: str
    seen: Seen
    bound: float
    unit: str
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` is what was asked for."""
        return value <= self.bound if self.at_most else value >= self.bound


def faster(group: str, name: str, side: str, number_type: str, bound: float) -> Target:
    """Ours against another side: the first place of a curve."""

    def seen(rows: Sequence[Row]) -> float | None:
        found = [each for each in ratios(rows) if (each.row.group, each.row.name, each.row.side) == (group, name, side)]
        return next((each.times for each in found if each.row.model == f"base {number_type}"), None)

    return Target(group, name, f"{name}: times faster than ({side}) {number_type}", seen, bound, "x")


def figure(group: str, name: str, says: str, bound: float, unit: str, *, at_most: bool = False) -> Target:
    """A median of ours at base size or with the demo checkpoint: the first place of a curve."""

    def seen(rows: Sequence[Row]) -> float | None:
        found = [
            row.median
            for row in rows
            if (row.group, row.name, row.side) == (group, name, "d") and not row.model.startswith("large")
        ]
        return found[0] if found else None

    return Target(group, name, says, seen, bound, unit, at_most)


def share_at_fastest(says: str, bound: float) -> Target:
    """The share of the matmul peak at the batch that gives the most images a second at base size."""

    def curve(rows: Sequence[Row], name: str) -> dict[float | None, float]:
        return {
            row.x: row.median
            for row in rows
            if (row.group, row.name) == ("vision", name) and row.model.startswith("base") and row.side == "d"
        }

    def seen(rows: Sequence[Row]) -> float | None:
        speed = curve(rows, "tower")
        return curve(rows, "share of the peak").get(max(speed, key=speed.__getitem__)) if speed else None

    return Target("vision", "share of the peak", says, seen, bound, "%")


def flat(group: str, name: str, says: str, start: float, end: float, bound: float) -> Target:
    """What a cost at `end` is of that at `start`, on one curve."""

    def seen(rows: Sequence[Row]) -> float | None:
        curve = {row.x: row.median for row in rows if (row.group, row.name) == (group, name)}
        return curve[end] / curve[start] if {start, end} <= curve.keys() else None

    return Target(group, name, says, seen, bound, "x", at_most=True)


def over_refused(name: str) -> Target:
    """The gateway's time over that of a request which is received, read and refused."""

    def seen(rows: Sequence[Row]) -> float | None:
        found = {row.name: row.median for row in rows if row.group == "gateway"}
        refused = next((each for name, each in found.items() if "received, read and refused" in name), None)
        return found[name] / refused if name in found and refused else None

    says = f"{name.replace(': gateway', '')}: gateway over a request refused (asked where it is over 3 ms)"
    return Target("gateway", name, says, seen, 9, "x", at_most=True)


ANYWHERE = (
    faster("vision", "tower", "o", "float32", 0.97),
    faster("clients", "16 clients, pairs", "o", "float32", 1),
    flat("growth", "a caption of a known image", "cost a caption, 1,000 against 64", 64, 1000, 1.05),
    figure("background", f"{BESIDE}: median more", f"known pairs {BESIDE}: median more", 0.6, "steps", at_most=True),
    figure("background", f"{BESIDE}: p95 more", f"known pairs {BESIDE}: p95 more", 1.1, "steps", at_most=True),
    figure("background", "throughput of background work", "throughput of background work alone", 95, "%"),
    figure(
        "start-up",
        "demo over the import",
        "demo's first pair over `import torch, transformers`",
        1.6,
        "x",
        at_most=True,
    ),
    figure(
        "start-up",
        "beyond the demo",
        "base's first pair less the demo's over cold read and image",
        1.5,
        "x",
        at_most=True,
    ),
    figure("memory", "two replicas", "two replicas in float32: memory over that of one", 1.4, "x", at_most=True),
    figure("memory", "growth", "memory after 10,000 requests over that after 1,000", 5, "%", at_most=True),
)
SIXTEEN_BITS = (
    faster("pairs", "1 image x 1 caption", "a", "float32", 4),
    faster("pairs", "1 image x 1 caption", "a16", "bfloat16", 1.3),
    faster("pairs", "1 image x 1 caption", "o", "bfloat16", 1),
    faster("pairs", "1 image x 64 captions", "a", "float32", 60),
    faster("pairs", "1 image x 64 captions", "a+", "float32", 12),
    faster("pairs", "1 image x 64 captions", "o", "bfloat16", 3),
    faster("pairs", "known image x 1 caption", "a", "float32", 12),
    faster("captions", "1 client, greedy", "a", "float32", 2.5),
    faster("captions", "16 clients, greedy", "b", "float32", 5),
    faster("clients", "16 clients, pairs", "b", "float32", 5),
    faster("clients", "16 clients, pairs", "c", "float32", 5),
    faster("clients", "16 clients, pairs", "c", "bfloat16", 2),
    faster("clients", "16 clients, pairs", "o", "bfloat16", 1.15),
    faster("vision", "tower", "o", "bfloat16", 0.97),
    figure("vision", "share of the peak", "vision tower, one image: share of the matmul peak", 45, "%"),
    share_at_fastest("vision tower, fastest batch: share of the matmul peak", 55),
    figure("gateway", "known image: gateway", "gateway over the engine's time, known image", 3, "ms", at_most=True),
    over_refused("known image: gateway"),
    figure("gateway", "new image: gateway", "gateway over the engine's time, new image", 3, "ms", at_most=True),
    over_refused("new image: gateway"),
    figure("gateway", "16 clients, new images", "demo checkpoint, 16 clients, new images", 150, "pairs/s"),
)
"""Where numbers of sixteen bits are multiplied."""
FLOAT32_ONLY = (
    faster("pairs", "1 image x 1 caption", "a", "float32", 1.3),
    faster("pairs", "1 image x 1 caption", "o", "float32", 1),
    faster("pairs", "1 image x 64 captions", "o", "float32", 3),
    faster("pairs", "known image x 1 caption", "a", "float32", 14),
    faster("captions", "1 client, greedy", "a", "float32", 1.25),
    share_at_fastest("vision tower, fastest batch: share of the matmul peak", 85),
)
"""Of CPUs that only emulate them. With its tower at the matmul peak ours would be 1.47 times the card's code."""


def targets(machine: Mapping[str, str]) -> tuple[Target, ...]:
    """What is asked of the machine, as `describe` tells of it."""
    return (*(SIXTEEN_BITS if multiplies_sixteen_bits(machine) else FLOAT32_ONLY), *ANYWHERE)
