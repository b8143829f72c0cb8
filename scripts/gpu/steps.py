"""Whole passes of a model, without the service around it: encoding, matching, captions by beams, ranking."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from blip_serve.domain import Caption, Item, RankItem
from gpu.place import Place
from gpu.rows import LARGE_STEP, Row, median_ms, seconds_of
from tests.support.checkpoints import Kind
from tests.support.running import image_bytes, item, writing

ROUNDS, TOKENS = 5, 20


@dataclass(frozen=True, slots=True)
class Pass:
    """`items` of some pictures. `known`: each round has the same pictures, which are cached; else they are new."""

    name: str
    count: int
    pictures: int
    known: bool
    items: Callable[[Sequence[bytes]], list[Item]]


def matching(place: Place) -> Iterator[Row]:
    """Of the retrieval checkpoint."""
    yield from _rows(place, "retrieval", MATCHING)


def writing_and_ranking(place: Place) -> Iterator[Row]:
    """Of the checkpoints that generate."""
    yield from _rows(place, "captioning", WRITING)
    yield from _rows(place, "answering", RANKING)


def _rows(place: Place, kind: Kind, passes: Sequence[Pass]) -> Iterator[Row]:
    model = place.load(kind, **LARGE_STEP)
    for each in passes:
        same = place.take(each.pictures)
        taken = []
        for _ in range(ROUNDS + 1):
            pictures = same if each.known else place.take(each.pictures)
            taken.append(seconds_of(model, [model.prepare(one) for one in each.items(pictures)], place.device))
        whole, launching = (median_ms(seconds) for seconds in zip(*taken[1:], strict=True))
        yield Row(each.name, place.name(kind), each.count, whole, launching)


def _encoded(pictures: Sequence[bytes]) -> list[Item]:
    return [item(data, ["a dog on a beach"], scores=frozenset({"cosine"})) for data in pictures]


def _pairs(count: int) -> Callable[[Sequence[bytes]], list[Item]]:
    captions = [f"a photo of {number} dogs and a woman on the beach" for number in range(count)]
    return lambda pictures: [item(data, captions) for data in pictures]


def _by_beams(pictures: Sequence[bytes]) -> list[Item]:
    return [writing(data, num_beams=3, min_tokens=TOKENS, max_tokens=TOKENS) for data in pictures]


def _ranked(count: int) -> Callable[[Sequence[bytes]], list[Item]]:
    answers = tuple(Caption(f"{number} red dogs", "answers") for number in range(count))
    question = Caption("what is it?", "question")
    return lambda pictures: [RankItem(image_bytes(data), question, answers) for data in pictures]


MATCHING = [
    Pass("encode a new image", 1, 1, False, _encoded),
    Pass("encode new images", 64, 64, False, _encoded),
    Pass("match a caption with a new image", 1, 1, False, _pairs(1)),
    Pass("match a caption with a known image", 1, 1, True, _pairs(1)),
    Pass("match captions with a known image", 256, 1, True, _pairs(256)),
]
WRITING = [Pass(f"write a caption of {TOKENS} tokens by 3 beams", 1, 1, True, _by_beams)]
RANKING = [Pass("rank answers to a question about a known image", 100, 1, True, _ranked(100))]
