"""Scores of pairs by one client: one pair, one image with many captions, many images with one caption."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.bench import Bench
from bench.checkpoints import SizeName
from bench.comparison import Side, compare, same_numbers
from bench.pictures import captions
from bench.sides import http
from bench.sides.apart import Apart
from bench.sides.card import CardMatcher

Asked = tuple[Sequence[bytes], Sequence[str]]
Scored = Side[Asked, list[float]]
TIMED, QUICK_TIMED = 8, 2
"""Of many pairs, those that the card's code is timed on."""
REPEATS: dict[SizeName, int] = {"base": 5, "large": 2}
"""Of short rows; long ones are timed once, warmed by those."""


def run(bench: Bench) -> None:
    """Size by size; large is asked for one pair only.

    In a quick run many are 8, else 64, and there are neither (a16) nor our engine alone.
    """
    for size in bench.sizes:
        _run(bench, size)


def _run(bench: Bench, size: SizeName) -> None:
    folder, ours, theirs = bench.checkpoint(size), f"{size} {bench.dtype}", bench.sixteen_bits
    with ExitStack() as running:
        card = running.enter_context(bench.card(CardMatcher, folder, "float32"))
        beside: list[Scored] = []
        if not bench.quick:
            card16 = running.enter_context(bench.card(CardMatcher, folder, theirs))
            engine = running.enter_context(bench.engine(folder))
            beside = [
                Side("a16", f"{size} {theirs}", _pair_by_pair(card16)),
                Side("d engine", ours, lambda asked: engine.match(*asked)),
            ]
        server = running.enter_context(bench.serve(folder))
        _rows(
            bench,
            size,
            a=Side("a", f"{size} float32", _pair_by_pair(card)),
            plus=Side("a+", f"{size} float32", lambda asked: card.call("score_carefully", asked[0][0], asked[1])),
            d=Side("d", ours, lambda asked: http.match(server.client, *asked)),
            beside=beside,
        )


def _rows(bench: Bench, size: SizeName, a: Scored, plus: Scored, d: Scored, beside: Sequence[Scored]) -> None:
    """`beside`: those that are asked for one pair only."""
    short, one = bench.repeats(REPEATS[size]), captions(1)

    def row(name: str, sides: Sequence[Scored], inputs: Sequence[Asked], warm: int = 1) -> None:
        compare(bench, "pairs", name, sides, inputs, same_numbers, warm)

    def fresh(count: int, words: Sequence[str], repeats: int) -> list[Asked]:
        return [(bench.pictures.take(count), words) for _ in range(repeats)]

    row("1 image x 1 caption", [a, *beside, d], fresh(1, one, short + 1))
    if size != "base":
        return
    many, timed = (8, QUICK_TIMED) if bench.quick else (64, TIMED)
    a_first = _first(timed, many, a)
    row(f"1 image x {many} captions", [a_first, plus, d], fresh(1, captions(many), 1), warm=0)
    row(f"{many} images x 1 caption", [a_first, d], fresh(many, one, 1), warm=0)
    row("known image x 1 caption", [a, d], fresh(1, one, 1) * (short + 1))


def _pair_by_pair(card: Apart) -> Callable[[Asked], list[float]]:
    """The card's code."""
    return lambda asked: [card.call("score", picture, text) for picture in asked[0] for text in asked[1]]


def _first(timed: int, many: int, side: Scored) -> Scored:
    """The side, of whose pairs only the first are timed."""

    def answer(asked: Asked) -> list[float]:
        pictures, texts = asked
        return side.answer((pictures[:timed], texts[:timed]))

    return Side(side.name, side.model, answer, timed / many, f"{timed} pairs timed, scaled to {many}")
