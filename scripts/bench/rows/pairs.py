"""Scores of pairs by one client: one pair, one image with many captions, many images with one caption."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from bench import peer
from bench.bench import Bench
from bench.checkpoints import SizeName
from bench.comparison import Side, compare, same_numbers
from bench.pictures import captions
from bench.sides import http
from bench.sides.apart import Apart
from bench.sides.card import CardMatcher

Asked = tuple[Sequence[bytes], Sequence[str]]
Scored = Side[Asked, list[float]]
MANY, SLOW_MANY, QUICK_MANY = 64, 16, 8
"""Images of a request, in float32 fewer."""
TIMED, QUICK_TIMED = 8, 2
"""Of many pairs, those that the card's code is timed on."""
REPEATS: dict[SizeName, int] = {"base": 5, "large": 2}
"""Of short rows; long ones are timed once, warmed by those."""


def run(bench: Bench) -> None:
    """Size by size; large is asked for one pair only, and not of (o).

    In a quick run many are 8, and there are neither (a16) nor our engine alone. Without 16 bits there is no (a16).
    """
    for size in bench.sizes:
        _run(bench, size)


def _run(bench: Bench, size: SizeName) -> None:
    folder, ours = bench.checkpoint(size), f"{size} {bench.dtype}"
    with ExitStack() as running:
        card = running.enter_context(bench.card(CardMatcher, folder, "float32"))
        beside: list[Scored] = []
        if not bench.quick:
            for theirs in bench.sixteen_bits:
                card16 = running.enter_context(bench.card(CardMatcher, folder, theirs))
                beside.append(Side("a16", f"{size} {theirs}", _pair_by_pair(card16)))
            engine = running.enter_context(bench.engine(folder))
            beside.append(Side("d engine", ours, lambda asked: engine.match(*asked)))
        peers = [
            Side("o", f"{size} {dtype}", _carefully(running.enter_context(peer.apart(bench, folder, dtype))))
            for dtype in (bench.openvino_types if size == "base" else ())
        ]
        server = running.enter_context(bench.serve(folder))
        _rows(
            bench,
            size,
            a=Side("a", f"{size} float32", _pair_by_pair(card)),
            plus=Side("a+", f"{size} float32", _carefully(card)),
            d=Side("d", ours, lambda asked: http.match(server.client, *asked)),
            beside=beside,
            peers=peers,
        )


def _rows(
    bench: Bench,
    size: SizeName,
    a: Scored,
    plus: Scored,
    d: Scored,
    beside: Sequence[Scored],
    peers: Sequence[Scored],
) -> None:
    """`beside`: those that are asked for one pair only. `peers`: (o) by number type."""
    short, one = bench.repeats(REPEATS[size]), captions(1)

    def row(name: str, sides: Sequence[Scored], inputs: Sequence[Asked], warm: int = 1) -> None:
        compare(bench, "pairs", name, sides, inputs, same_numbers, warm)

    def fresh(count: int, words: Sequence[str], repeats: int) -> list[Asked]:
        return [(bench.pictures.take(count), words) for _ in range(repeats)]

    row("1 image x 1 caption", [a, *beside, *peers, d], fresh(1, one, short + 1))
    if size != "base":
        return
    timed = QUICK_TIMED if bench.quick else TIMED
    many = QUICK_MANY if bench.quick else MANY
    noted = [replace(each, note=peer.REPEATED) for each in peers]
    sides = [_first(timed, many, a), plus, *noted, d]
    row(f"1 image x {many} captions", sides, fresh(1, captions(many), 1), warm=0)
    many = QUICK_MANY if bench.quick else MANY if bench.sixteen_bits else SLOW_MANY
    row(f"{many} images x 1 caption", [_first(timed, many, a), d], fresh(many, one, 1), warm=0)
    row("known image x 1 caption", [a, d], fresh(1, one, 1) * (short + 1))


def _pair_by_pair(card: Apart) -> Callable[[Asked], list[float]]:
    """The card's code."""
    return lambda asked: [card.call("score", picture, text) for picture in asked[0] for text in asked[1]]


def _carefully(card: Apart) -> Callable[[Asked], list[float]]:
    """The first picture encoded once, for all captions."""
    return lambda asked: [float(each) for each in card.call("score_carefully", asked[0][0], asked[1])]


def _first(timed: int, many: int, side: Scored) -> Scored:
    """The side, of whose pairs only the first are timed."""

    def answer(asked: Asked) -> list[float]:
        pictures, texts = asked
        return side.answer((pictures[:timed], texts[:timed]))

    return Side(side.name, side.model, answer, timed / many, f"{timed} pairs timed, scaled to {many}")
