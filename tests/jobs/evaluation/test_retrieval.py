"""Retrieval asks for each pair once, grouped by picture, and ranks as the official procedure does."""

import asyncio
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from blip_serve.errors import Overloaded
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.evaluation.evaluation import Measured
from blip_serve.jobs.evaluation.gallery import Gallery
from blip_serve.jobs.evaluation.published import COCO_RETRIEVAL
from blip_serve.jobs.evaluation.retrieval import Retrieval
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.match import MatchRequest
from tests.jobs.evaluation.scripted import Drawing, answering, drawn_gallery, logit_of, vector_of

K = 4


@pytest.fixture
def drawn(tmp_path: Path) -> Gallery:
    """Thirty pictures with one to three texts, some of which are also those of another."""
    random = Random(0)
    texts = [tuple(f"text {random.randrange(60)}" for _ in range(random.randint(1, 3))) for _ in range(30)]
    return drawn_gallery(tmp_path, texts)


def measured(gallery: Gallery, ask: Drawing, state: Path, k: int = K, at_once: int = 4) -> Measured:
    async def run() -> Measured:
        with Answers(state) as answers:
            async with answering(ask, answers, at_once) as made:
                return await Retrieval(gallery, "drawn", k).measure(made)

    return asyncio.run(run())


def test_ranks_and_recalls_are_those_of_the_whole_matrix(drawn: Gallery, tmp_path: Path) -> None:
    found = measured(drawn, Drawing(), tmp_path / "state")
    names = [entry.name for entry in drawn.entries]
    logits = np.array([[logit_of(name, text) for text in drawn.texts] for name in names])
    cosines = np.array([vector_of(name) for name in names]) @ np.array([vector_of(text) for text in drawn.texts]).T
    tr = expected(logits, cosines, [list(own) for own in drawn.texts_of])
    ir = expected(logits.T, cosines.T, [[owner] for owner in drawn.owners])
    assert found.details["ranks"] == {"TR": tr, "IR": ir}
    figures = {
        f"{name}@{at}": 100 * np.mean(np.array(of) < at) for name, of in (("TR", tr), ("IR", ir)) for at in (1, 5, 10)
    }
    assert found.figures == pytest.approx({**figures, "mean": np.mean(list(figures.values()))})


def expected(logits: NDArray[np.float64], cosines: NDArray[np.float64], true: list[list[int]]) -> list[int]:
    """Ranks by the whole matrix of scores, -100 beyond the candidates."""
    found = []
    for row, near, own in zip(logits, cosines, true, strict=True):
        scores = np.full(len(row), -100.0, np.float32)
        candidates = np.argsort(-near.astype(np.float32), kind="stable")[:K]
        scores[candidates] = row[candidates] + near[candidates]
        order = np.argsort(-scores, kind="stable").tolist()
        found.append(min(order.index(each) for each in own))
    return found


def test_each_text_and_picture_is_embedded_once_and_each_pair_scored_once(drawn: Gallery, tmp_path: Path) -> None:
    ask = Drawing()
    found = measured(drawn, ask, tmp_path / "state")
    embedded = [each for request in ask.requests if isinstance(request, EmbedRequest) for each in request.inputs]
    assert len(embedded) == len(drawn.entries) + len(set(drawn.texts))
    matches = [request for request in ask.requests if isinstance(request, MatchRequest)]
    pairs = [(request.images[0].param, caption.text) for request in matches for caption in request.captions]
    assert len(matches) == len(drawn.entries)
    assert len(set(pairs)) == len(pairs) == found.counts["pairs scored"] < K * (len(drawn.entries) + len(drawn.texts))
    assert {request.scores for request in matches} == {frozenset({"itm"})}
    assert {request.protocol for request in ask.requests} == {"paper"}


def test_the_pictures_that_were_embedded_last_are_matched_first(drawn: Gallery, tmp_path: Path) -> None:
    ask = Drawing()
    measured(drawn, ask, tmp_path / "state", at_once=1)
    matched = [request.images[0].param for request in ask.requests if isinstance(request, MatchRequest)]
    assert matched == [entry.name for entry in reversed(drawn.entries)]


@pytest.mark.parametrize("fails_at", [0, 5, 9, 20])
def test_a_run_that_failed_goes_on_with_what_was_not_answered(drawn: Gallery, tmp_path: Path, fails_at: int) -> None:
    whole, first, second = Drawing(), Drawing(fails_at, Overloaded("busy")), Drawing()
    wanted = measured(drawn, whole, tmp_path / "whole", at_once=1)
    with pytest.raises(Overloaded):
        measured(drawn, first, tmp_path / "state", at_once=1)
    assert measured(drawn, second, tmp_path / "state", at_once=1) == wanted
    assert len(first.requests) + len(second.requests) == len(whole.requests)


def test_another_number_of_candidates_uses_the_vectors_that_are_there(drawn: Gallery, tmp_path: Path) -> None:
    again = Drawing()
    measured(drawn, Drawing(), tmp_path / "state")
    found = measured(drawn, again, tmp_path / "state", k=1000)
    assert not [request for request in again.requests if isinstance(request, EmbedRequest)]
    assert found.counts["pairs scored"] == len(drawn.entries) * len(set(drawn.texts))
    assert found.counts["candidates"] == len(drawn.texts)


def test_what_a_reader_must_know_is_noted(drawn: Gallery) -> None:
    flickr = Retrieval(drawn, "drawn", K, "flickr30k").notes("paper")
    assert len(flickr) == 2
    assert "tuned on COCO" in flickr[0]
    coco = Retrieval(drawn, "drawn", K, "coco")
    assert coco.published == COCO_RETRIEVAL
    assert coco.notes("paper") == (
        "The published figures are of 5,000 pictures, those measured here of 30: they do not compare.",
    )
    assert "protocol `paper`" in coco.notes("hf")[1]
    whole = Retrieval(Gallery(tuple(drawn.entries[:1]) * 5000, ""), "drawn", K, "coco")
    assert whole.notes("paper") == ()
    other = Retrieval(drawn, "drawn", K)
    assert (other.published, other.notes("hf")) == ((), ())
