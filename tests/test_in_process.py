"""The Python interface, with the embedded checkpoints: what a script, a notebook and asynchronous code do with it."""

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from blip_serve import AsyncBlipServe, BlipServe, choice, predicate, scale
from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import Caption, GenerationOptions
from blip_serve.errors import InvalidInput, ModelNotFound
from blip_serve.heat import strongest
from blip_serve.images.local import Picture
from blip_serve.in_process import local_settings
from blip_serve.settings import Settings
from blip_serve.tasks.questions import Question
from tests.notebook.results import Page
from tests.support.waiting import WAIT_S

PICTURE = EMBEDDED / "pictures" / "pink-star.png"
OTHER = EMBEDDED / "pictures" / "blue-square-green-star.png"
METHODS = ("match", "caption", "answer", "embed", "rerank", "decide", "explain")


def chosen() -> Settings:
    return local_settings().model_copy(update={"dtype": "float32"})


@pytest.fixture(scope="module")
def blip() -> Iterator[BlipServe]:
    with BlipServe(chosen()) as opened:
        yield opened


def test_a_path_bytes_and_a_pillow_image_are_one_picture(blip: BlipServe) -> None:
    with Image.open(PICTURE) as opened:
        opened.load()
    images: list[Picture] = [str(PICTURE), PICTURE, PICTURE.read_bytes(), opened, opened.convert("RGBA")]
    scores = [pair.score.itm_score or 0 for pair in blip.match(images, "a pink star").pairs]
    assert scores == pytest.approx([scores[0]] * len(images))
    assert scores[0] > 0.9


def test_an_image_of_a_mode_that_png_lacks_is_read_as_rgb(blip: BlipServe) -> None:
    with Image.open(PICTURE) as opened:
        first = blip.embed(opened.convert("CMYK")).vectors
        assert first == blip.embed(opened.convert("CMYK").convert("RGB")).vectors


def test_it_writes_captions_and_answers_each_with_the_model_for_it(blip: BlipServe) -> None:
    written, answered = blip.caption(PICTURE), blip.answer(PICTURE, "what colour is the star?")
    assert (written.model, written.text) == ("blip-serve/demo-captioning", "a small pink star")
    assert (answered.model, answered.text) == ("blip-serve/demo-vqa", "pink")
    begun = blip.caption(PICTURE, "a drawing of", options=GenerationOptions(num_beams=3))
    assert begun.text.startswith("a drawing of")


def test_it_embeds_images_then_texts(blip: BlipServe) -> None:
    both = blip.embed([PICTURE, OTHER], ["a pink star"]).vectors
    assert both == (*blip.embed([PICTURE, OTHER]).vectors, *blip.embed((), "a pink star").vectors)


def test_it_orders_images_by_a_text_and_texts_by_an_image(blip: BlipServe) -> None:
    assert [ranked.index for ranked in blip.rerank("a pink star", [OTHER, PICTURE]).documents] == [1, 0]
    texts = ["a blue square and a green star", "a pink star"]
    assert [ranked.index for ranked in blip.rerank(PICTURE, texts, shortlist=2).documents] == [1, 0]


def test_it_decides(blip: BlipServe) -> None:
    questions: list[Question] = [
        predicate("a pink star"),
        choice("a {} star", ["green", "pink"]),
        scale("a {} pink star", ["small", "large"]),
    ]
    said, chose, scaled = blip.decide(PICTURE, questions).answers
    assert said.probability > 0.9  # type: ignore[union-attr]
    assert chose.choice == "pink"  # type: ignore[union-attr]
    assert scaled.score < 0.5  # type: ignore[union-attr]
    assert blip.decide(PICTURE, questions[0]).answers[0].probability == pytest.approx(said.probability)  # type: ignore[union-attr]


def test_it_explains(blip: BlipServe) -> None:
    caption = "a blue square and a green star"
    [explained] = blip.explain(OTHER, caption).explanations
    words = explained.explanation.words
    assert [caption[word.start : word.end] for word in words] == caption.split()
    assert strongest(words[-1].map) in ("left", "lower left", "lower")
    assert (explained.explanation.itm_score or 0) > 0.9


def test_a_notebook_shows_every_result(blip: BlipServe) -> None:
    results: list[Any] = [
        blip.match([PICTURE, OTHER], "a pink star"),
        blip.caption(PICTURE.read_bytes()),
        blip.answer(str(PICTURE), "what colour is the star?"),
        blip.embed(PICTURE, "a pink star"),
        blip.rerank("a pink star", [OTHER, PICTURE]),
        blip.rerank(PICTURE, ["a pink star"]),
        blip.decide(PICTURE, predicate("a pink star")),
        blip.explain(PICTURE, "a pink star"),
    ]
    for result in results:
        page = Page(result._repr_html_())
        assert result.model in page.text
        assert page.pictures


def test_it_may_be_called_inside_a_running_event_loop(blip: BlipServe) -> None:
    async def cell() -> str:
        return blip.caption(PICTURE).text

    assert asyncio.run(cell()) == "a small pink star"


def test_it_may_be_called_from_several_threads_at_once(blip: BlipServe) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: blip.caption(PICTURE).text, range(16)))
    assert set(texts) == {"a small pink star"}


def test_the_asynchronous_twin_gives_the_same() -> None:
    """Both anew: a picture that was encoded in a step with others differs in the last bit."""

    async def ask() -> tuple[object, ...]:
        async with AsyncBlipServe(chosen()) as twin:
            result, written = await asyncio.gather(twin.match(PICTURE, "a pink star"), twin.caption(PICTURE))
            return result.pairs, written.texts

    with BlipServe(chosen()) as blip:
        wanted = blip.match(PICTURE, "a pink star").pairs, blip.caption(PICTURE).texts
    assert asyncio.run(ask()) == wanted


@pytest.mark.parametrize("name", METHODS)
def test_both_have_the_same_methods_with_the_same_documentation(name: str) -> None:
    here, there = getattr(BlipServe, name), getattr(AsyncBlipServe, name)
    assert inspect.signature(here) == inspect.signature(there)
    assert here.__doc__ == there.__doc__


REFUSED: list[tuple[str, Callable[[BlipServe], object]]] = [
    ("captions", lambda blip: blip.match(PICTURE, [])),
    ("captions[1]", lambda blip: blip.match(PICTURE, ["a star", " "])),
    ("images[1]", lambda blip: blip.match([PICTURE, b"no picture"], "a star")),
    ("image", lambda blip: blip.caption(b"no picture")),
    ("pairing", lambda blip: blip.match(PICTURE, "a star", pairing="all")),  # type: ignore[arg-type]
    ("scores", lambda blip: blip.match(PICTURE, "a star", scores=["best"])),  # type: ignore[list-item]
    ("on_error", lambda blip: blip.match(PICTURE, "a star", on_error="none")),  # type: ignore[arg-type]
    ("protocol", lambda blip: blip.embed(PICTURE, protocol="new")),  # type: ignore[arg-type]
    ("service_tier", lambda blip: blip.caption(PICTURE, service_tier="slow")),  # type: ignore[arg-type]
    ("rank_by", lambda blip: blip.rerank("a star", [PICTURE], rank_by="best")),  # type: ignore[arg-type]
    ("top_n", lambda blip: blip.rerank("a star", [PICTURE], top_n=0)),
    ("documents", lambda blip: blip.rerank("a star", [])),
    ("choices[1]", lambda blip: blip.decide(PICTURE, choice("{}", ["a star", "a star"]))),
    ("inputs", lambda blip: blip.embed()),
    ("documents[1]", lambda blip: blip.rerank("a star", [PICTURE, Caption("a star", "documents[1]")])),
    ("documents", lambda blip: blip.rerank(PICTURE, [OTHER])),
]


@pytest.mark.parametrize(("param", "ask"), REFUSED, ids=[param for param, _ in REFUSED])
def test_what_is_wrong_is_refused_by_the_name_of_the_argument(
    blip: BlipServe, param: str, ask: Callable[[BlipServe], object]
) -> None:
    with pytest.raises(InvalidInput) as found:
        ask(blip)
    assert found.value.param == param


OUT_OF_BOUNDS: list[dict[str, object]] = [
    {"temperature": -0.1},
    {"temperature": 2.1},
    {"temperature": float("nan")},
    {"top_k": -1},
    {"top_p": 0.0},
    {"top_p": 1.1},
    {"min_p": -0.1},
    {"min_tokens": -1},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": float("inf")},
    {"top_logprobs": 21},
    {"seed": 2**63},
    {"stop": ("",)},
    {"stop": ("a", "b", "c", "d", "e")},
    {"max_tokens": 0},
    {"num_beams": 100},
]


@pytest.mark.parametrize("wrong", OUT_OF_BOUNDS, ids=str)
def test_options_out_of_bounds_are_refused_as_over_http(blip: BlipServe, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as found:
        blip.caption(PICTURE, options=replace(GenerationOptions(), **wrong))  # type: ignore[arg-type]
    assert found.value.param == next(iter(wrong))


def test_a_model_that_there_is_not_and_a_file_that_cannot_be_read_say_so(blip: BlipServe) -> None:
    with pytest.raises(ModelNotFound):
        blip.caption(PICTURE, model="nobody/nothing")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        blip.caption("nowhere.png")


def test_background_work_says_so(blip: BlipServe) -> None:
    assert blip.match(PICTURE, "a pink star", service_tier="flex").service_tier == "flex"
    assert blip.match(PICTURE, "a pink star").service_tier == "default"


def test_a_closed_one_says_so() -> None:
    closed = BlipServe(chosen())
    closed.close()
    closed.close()
    with pytest.raises(RuntimeError, match="not open"):
        closed.caption(PICTURE)


@pytest.mark.parametrize(
    "end", ["", pytest.param("blip.close()", marks=pytest.mark.full), pytest.param("del blip", marks=pytest.mark.full)]
)
def test_a_script_ends_in_peace_however_it_leaves_the_service(end: str, tmp_path: Path) -> None:
    code = f"from blip_serve import BlipServe; blip = BlipServe(); print(blip.caption({str(PICTURE)!r}).text); {end}"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=WAIT_S * 3, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a small pink star\n", "")


WRONG_TYPES: list[tuple[str, Callable[[BlipServe], object]]] = [
    ("images: a path", lambda blip: blip.match(5, "a star")),  # type: ignore[arg-type]
    (r"images\[1\]: a path", lambda blip: blip.match([PICTURE, None], "a star")),  # type: ignore[list-item]
    ("captions: a string", lambda blip: blip.match(PICTURE, None)),  # type: ignore[arg-type]
    (r"captions\[1\]: a string", lambda blip: blip.match(PICTURE, ["a star", 5])),  # type: ignore[list-item]
    ("question: a string", lambda blip: blip.answer(PICTURE, None)),  # type: ignore[arg-type]
    ("documents: a list", lambda blip: blip.rerank("a star", "a.png")),
]


@pytest.mark.parametrize(("message", "ask"), WRONG_TYPES, ids=[message for message, _ in WRONG_TYPES])
def test_an_argument_of_a_wrong_type_is_named(
    blip: BlipServe, message: str, ask: Callable[[BlipServe], object]
) -> None:
    with pytest.raises(TypeError, match=message):
        ask(blip)


def test_an_image_without_pixels_is_refused(blip: BlipServe) -> None:
    with pytest.raises(InvalidInput) as found:
        blip.caption(Image.new("RGB", (0, 0)))
    assert found.value.param == "image"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_told_to_make_its_own(tmp_path: Path) -> None:
    code = f"""
import multiprocessing
from blip_serve import BlipServe
blip = BlipServe()
def ask(queue):
    try:
        blip.caption({str(PICTURE)!r})
    except RuntimeError as error:
        queue.put(str(error))
    blip.close()
queue = multiprocessing.get_context("fork").Queue()
child = multiprocessing.get_context("fork").Process(target=ask, args=(queue,))
child.start()
print(queue.get(timeout={WAIT_S}))
child.join({WAIT_S})
print(child.exitcode)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=WAIT_S * 3, cwd=tmp_path
    )
    told, exit_code = done.stdout.splitlines()
    assert "make one here" in told
    assert exit_code == "0"
