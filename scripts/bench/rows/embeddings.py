"""Unit vectors of images and texts: transformers one by one, ours in one request."""

from collections.abc import Sequence

from bench.bench import Bench
from bench.comparison import Side, compare, same_numbers
from bench.pictures import captions
from bench.sides import http
from bench.sides.card import CardMatcher

REPEATS = 2


def run(bench: Bench) -> None:
    """At base size."""
    folder = bench.checkpoint("base")
    with bench.card(CardMatcher, folder, "float32") as card, bench.serve(folder) as server:
        sides: list[Side[Sequence[bytes | str], list[list[float]]]] = [
            Side("a", "base float32", lambda inputs: [card.call("embed", each) for each in inputs]),
            Side("d", f"base {bench.dtype}", lambda inputs: http.embed(server.client, inputs)),
        ]
        repeats = bench.repeats(REPEATS) + 1
        for name, count in {"1 image": 1, "4 images": 4}.items():
            if count == 1 or not bench.quick:
                rounds = [bench.pictures.take(count) for _ in range(repeats)]
                compare(bench, "embeddings", name, sides, rounds, _same)
        count = 16 if bench.quick else 64
        texts = captions(count * repeats)
        parts = [texts[start : start + count] for start in range(0, len(texts), count)]
        compare(bench, "embeddings", f"{count} texts", sides, parts, _same)


def _same(model: str, given: object, found: list[list[float]], wanted: list[list[float]]) -> bool:
    return all(same_numbers(model, given, *vectors) for vectors in zip(found, wanted, strict=True))
