"""The captioning task."""

from __future__ import annotations

from demo.captioning.evaluation import measure
from demo.captioning.lesson import Telling
from demo.captioning.prose import PROSE, figures
from demo.dimensions import Dimensions
from demo.model import Captioning
from demo.retrieval.task import RETRIEVAL
from demo.start import Parent
from demo.task import Task
from demo.training import Plan
from demo.vocabulary import CAPTIONS


def build() -> Captioning:
    """Vision and the decoder's layers as retrieval has learnt them."""
    model = Captioning(Dimensions(len(CAPTIONS)))
    parent = Parent(RETRIEVAL)
    parent.give_vision(model.vision_model)
    parent.give_text(model.text_decoder.bert, CAPTIONS)
    return model


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
)
