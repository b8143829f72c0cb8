"""Evaluation: how rightly a saved folder answers about pictures that training never drew."""

from __future__ import annotations

from pathlib import Path
from random import Random

from PIL import Image

from demo.answering.answerer import Answerer
from demo.answering.questions import KINDS, Asker, Question
from demo.drawing import Artist
from demo.pictures import shipped
from demo.references import PROTOCOLS, Protocol
from demo.world import World

PICTURES = 1000
ASKED = {
    "red-circle.png": ("what colour is the circle?", "how many shapes are there?", "is there a large blue circle?"),
    "pink-star.png": ("what shape is it?", "what size is the pink star?", "is there a small pink star?"),
    "blue-square-green-star.png": ("what color is the square?", "what size is the star?", "is there a green square?"),
    "yellow-triangle-purple-ring.png": ("what shape is the purple thing?", "is the triangle yellow?"),
    "orange-cross-black-circle.png": ("how large is the cross?", "what colour is the large shape?"),
    "two-purple-squares.png": ("how many squares are there?", "is there a small purple square?"),
}
"""What is asked about each shipped picture."""


def measure(folder: Path) -> dict[str, object]:
    """Every figure of a saved folder."""
    answerer = Answerer(folder)
    return {
        "pictures": PICTURES,
        "seen": _evaluate(answerer, unseen=False),
        "unseen": _evaluate(answerer, unseen=True),
        "shipped_pictures": _shipped(answerer),
    }


def _evaluate(answerer: Answerer, *, unseen: bool) -> dict[str, dict[str, float]]:
    """The share of right answers by kind of question."""
    asked = {kind: _asked(kind, unseen) for kind in KINDS}
    return {protocol: {kind: _share(answerer, *asked[kind], protocol) for kind in KINDS} for protocol in PROTOCOLS}


def _asked(kind: str, unseen: bool) -> tuple[list[Image.Image], list[Question]]:
    """Pictures, and a question about each."""
    rng = Random(f"evaluation/answers/{kind}/{unseen}")
    world, artist, asker = World(rng), Artist(rng), Asker(rng, unseen=unseen)
    pictures: list[Image.Image] = []
    questions: list[Question] = []
    while len(questions) < PICTURES:
        scene = world.scene(unseen=unseen)
        question = asker.ask(scene, kind)
        if question:
            questions.append(question)
            pictures.append(artist.picture(scene))
    return pictures, questions


def _share(answerer: Answerer, pictures: list[Image.Image], questions: list[Question], protocol: Protocol) -> float:
    """Of answers that are right and ended."""
    answers = answerer.answers(pictures, [question.text for question in questions], protocol)
    right = [
        answer.ended and answer.text == question.answer for answer, question in zip(answers, questions, strict=True)
    ]
    return round(sum(right) / len(right), 4)


def _shipped(answerer: Answerer) -> dict[str, dict[str, dict[str, str]]]:
    """What is answered about each shipped picture, by question and protocol."""
    pictures = shipped()
    result: dict[str, dict[str, dict[str, str]]] = {}
    for name, questions in ASKED.items():
        told = {
            protocol: answerer.answers([pictures[name]] * len(questions), questions, protocol) for protocol in PROTOCOLS
        }
        result[name] = {
            question: {protocol: answers[at].text for protocol, answers in told.items()}
            for at, question in enumerate(questions)
        }
    return result
