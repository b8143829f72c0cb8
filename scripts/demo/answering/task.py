"""The answering task."""

from __future__ import annotations

from random import Random

from demo.answering.batches import QUESTIONS
from demo.answering.evaluation import measure
from demo.answering.lesson import Replying
from demo.answering.prose import PROSE, figures
from demo.answering.questions import Asker
from demo.dimensions import Dimensions
from demo.model import Answering
from demo.pointing import Told
from demo.retrieval.task import RETRIEVAL
from demo.start import Parent
from demo.task import Task
from demo.training import Plan
from demo.world import ATTRIBUTES, Scene


def build() -> Answering:
    """Vision, and the layers of both text towers, as retrieval has learnt them."""
    model = Answering(Dimensions(len(QUESTIONS)))
    parent = Parent(RETRIEVAL)
    parent.give_vision(model.vision_model)
    parent.give_text(model.text_encoder, QUESTIONS)
    parent.give_text(model.text_decoder.bert, QUESTIONS)
    return model


def tell(scene: Scene, rng: Random) -> tuple[Told, ...]:
    """An answer that is a size, a colour and a shape, each to a question that is about one of the things."""
    asked = (Asker(rng).ask(scene, kind) for kind in ATTRIBUTES)
    return tuple(Told((question.answer,), question.text) for question in asked if question)


ANSWERING = Task(
    name="demo-vqa",
    architecture="BlipForQuestionAnswering",
    parent=RETRIEVAL.name,
    vocabulary=QUESTIONS,
    plan=Plan(steps=3000, rate=1e-3, vision_rate=0.1, bfloat16=True),
    build=build,
    teach=Replying,
    measure=measure,
    figures=figures,
    prose=PROSE,
    methods=("attention",),
    tell=tell,
)
