"""The captioning task."""

from __future__ import annotations

from random import Random

from demo.captioning.evaluation import measure
from demo.captioning.lesson import Telling
from demo.captioning.prose import PROSE, figures
from demo.captions import plain_captions
from demo.dimensions import Dimensions
from demo.model import Captioning
from demo.pointing import Told
from demo.retrieval.task import RETRIEVAL
from demo.start import Parent
from demo.task import Task
from demo.training import Plan
from demo.vocabulary import CAPTIONS
from demo.world import Scene


def build() -> Captioning:
    """Vision and the decoder's layers as retrieval has learnt them."""
    model = Captioning(Dimensions(len(CAPTIONS)))
    parent = Parent(RETRIEVAL)
    parent.give_vision(model.vision_model)
    parent.give_text(model.text_decoder.bert, CAPTIONS)
    return model


def tell(scene: Scene, rng: Random) -> tuple[Told, ...]:
    """The caption that it has learnt to write."""
    return (Told(plain_captions(scene)[0]),)


CAPTIONING = Task(
    name="demo-captioning",
    architecture="BlipForConditionalGeneration",
    parent=RETRIEVAL.name,
    vocabulary=CAPTIONS,
    plan=Plan(steps=2400, rate=1e-3, vision_rate=0.1, bfloat16=True),
    build=build,
    teach=Telling,
    measure=measure,
    figures=figures,
    prose=PROSE,
    methods=("attention",),
    tell=tell,
)
