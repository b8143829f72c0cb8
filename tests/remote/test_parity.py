"""Over HTTP every operator makes of a row what it makes in process."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from blip_serve.domain import GenerationOptions, Task
from blip_serve.errors import ServiceError
from blip_serve.images.reference import BytesImage
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.jobs.asking import ends_run
from blip_serve.jobs.operators.answer import AnswerOperator
from blip_serve.jobs.operators.capfilt import CapFiltOperator
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.embed import EmbedOperator
from blip_serve.jobs.operators.filter import FilterOperator
from blip_serve.jobs.operators.match import MatchOperator
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.predicate import PredicateOperator
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.operators.wording import Wording
from blip_serve.jobs.rows import Dropped, Fields, Row
from blip_serve.models.fake import FakeModel
from blip_serve.remote.tasks import RemoteTasks
from tests.jobs.operators.support import PICTURE
from tests.support.documents import ROOT
from tests.support.server import Service, always, fake_settings, serving, settings
from tests.support.tasks import with_service

FOLDER = ROOT / "src" / "blip_serve" / "checkpoints" / "pictures"
PICTURES = [BytesImage((FOLDER / f"{name}.png").read_bytes(), name) for name in ("pink-star", "blue-square-green-star")]
ROW = Row(0, "pairs.jsonl:0", {"alt": "a small pink star", "alts": ["a pink star", "a dog"], "asked": "what colour?"})
DRAWN = GenerationOptions(temperature=1.0, top_p=0.9, top_k=40, min_tokens=3, repetition_penalty=1.1)
ALL: tuple[Task, ...] = ("match", "embed", "caption", "answer")

OPERATORS: dict[str, Operator] = {
    "caption": CaptionOperator(),
    "caption by beams": CaptionOperator("a drawing of", GenerationOptions(num_beams=3, max_tokens=9)),
    "several captions drawn": CaptionOperator(options=DRAWN, n=3, seed=5),
    "caption, plain": CaptionOperator("describe this", serving=Serving("demo-captioning:plain")),
    "answer": AnswerOperator(Wording("what colour is the star?")),
    "answer a column": AnswerOperator(Wording(column="asked"), n=2, options=DRAWN),
    "match": MatchOperator("alt"),
    "match lists": MatchOperator("alts", ("itm",), lists=True, serving=Serving(protocol="paper")),
    "embed": EmbedOperator(),
    "embed a text": EmbedOperator("alt"),
    "predicate": PredicateOperator(Wording("a pink star")),
    "predicate of an answer": PredicateOperator(Wording("is there a star?"), Serving("demo-vqa")),
    "filter": FilterOperator("itm_score", 0.5, "alt"),
    "capfilt": CapFiltOperator("alt", seed=3),
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Service]:
    with serving(settings()) as service:
        yield service


@pytest.fixture(scope="module")
def fake() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel(*ALL))) as service:
        yield service


async def remotely(service: Service, operator: Operator, picture: BytesImage) -> Fields | Dropped:
    async with RemoteTasks(service.url) as remote:
        return await operator.apply(ROW, picture, remote.run)


def flat(value: object) -> Any:
    """What may be compared approximately."""
    if isinstance(value, Dropped):
        return {"reason": value.reason, **value.fields}
    return value


@pytest.fixture(scope="module")
def in_process() -> dict[str, list[Any]]:
    """What the operators make in process of each picture."""

    async def run() -> dict[str, list[Any]]:
        async with AsyncBlipServe(local_settings().model_copy(update={"dtype": "float32"})) as blip:
            return {
                name: [flat(await operator.apply(ROW, picture, blip.run)) for picture in PICTURES]
                for name, operator in OPERATORS.items()
            }

    return asyncio.run(run())


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_makes_the_same_columns_over_http(
    demo: Service, in_process: dict[str, list[Any]], name: str
) -> None:
    for picture, there in zip(PICTURES, in_process[name], strict=True):
        here = flat(asyncio.run(remotely(demo, OPERATORS[name], picture)))
        assert here.keys() == there.keys()
        for column, value in there.items():
            numbers = isinstance(value, float) or (isinstance(value, list) and isinstance(value[0], float))
            assert here[column] == (pytest.approx(value, abs=1e-5) if numbers else value)


@pytest.mark.parametrize("name", [name for name in OPERATORS if "plain" not in name and "of an answer" not in name])
def test_with_the_fake_model_they_are_the_same_to_the_bit(fake: Service, name: str) -> None:
    there = with_service(FakeModel(*ALL), lambda tasks: OPERATORS[name].apply(ROW, PICTURE, tasks.run))
    assert asyncio.run(remotely(fake, OPERATORS[name], PICTURE)) == there


WRONG: list[tuple[Operator, BytesImage, str]] = [
    (CaptionOperator(options=GenerationOptions(temperature=5)), PICTURE, "temperature"),
    (CaptionOperator(n=1000), PICTURE, "n"),
    (
        CaptionOperator(options=GenerationOptions(max_tokens=0, max_tokens_param="--max-tokens")),
        PICTURE,
        "--max-tokens",
    ),
    (CaptionOperator("a " * 5000), PICTURE, "--beginning"),
    (CaptionOperator(), BytesImage(b"no picture", "a.jpg"), "image"),
    (CaptionOperator(), BytesImage(b"", "a.jpg"), "image"),
    (AnswerOperator(Wording("what? " * 5000)), PICTURE, "--question"),
    (AnswerOperator(Wording(column="long")), PICTURE, "long"),
    (MatchOperator("long"), PICTURE, "long"),
    (MatchOperator("longs", lists=True), PICTURE, "longs[1]"),
    (MatchOperator("many", lists=True), PICTURE, "many"),
    (MatchOperator("alt"), BytesImage(b"no picture", "a.jpg"), "image"),
    (EmbedOperator("long"), PICTURE, "long"),
    (EmbedOperator(), BytesImage(b"no picture", "a.jpg"), "image"),
    (PredicateOperator(Wording(column="long")), PICTURE, "long"),
    (PredicateOperator(Wording("a star")), BytesImage(b"no picture", "a.jpg"), "image"),
    (CapFiltOperator("long"), PICTURE, "long"),
    (EmbedOperator(serving=Serving("nobody/nothing")), PICTURE, "model"),
]


LONG = "a star " * 5000
WRONG_ROW = Row(0, "pairs.jsonl:0", {"long": LONG, "longs": ["a", LONG], "many": ["a"] * 2000, "alt": "a star"})


async def fault(operator: Operator, picture: BytesImage, ask: Ask) -> ServiceError:
    with pytest.raises(ServiceError) as found:
        await operator.apply(WRONG_ROW, picture, ask)
    return found.value


@pytest.fixture(scope="module")
def faults() -> list[ServiceError]:
    """The errors in process."""

    async def run() -> list[ServiceError]:
        async with AsyncBlipServe(settings()) as blip:
            return [await fault(operator, picture, blip.run) for operator, picture, _ in WRONG]

    return asyncio.run(run())


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_an_error_names_the_column_the_image_or_the_option_here_and_there(
    demo: Service, faults: list[ServiceError], case: int
) -> None:
    operator, picture, param = WRONG[case]

    async def run() -> ServiceError:
        async with RemoteTasks(demo.url) as remote:
            return await fault(operator, picture, remote.run)

    there, here = asyncio.run(run()), faults[case]
    assert (there.param, here.param) == (param, param)
    assert (type(there), there.code) == (type(here), here.code)
    assert ends_run(there) == ends_run(here) == (param in ("temperature", "n", "model") or param.startswith("--"))
