"""The retrieval task."""

from __future__ import annotations

from demo.dimensions import Dimensions
from demo.model import Retrieval
from demo.retrieval.evaluation import measure
from demo.retrieval.lesson import Matching
from demo.retrieval.prose import PROSE, figures
from demo.task import Task
from demo.training import Plan
from demo.vocabulary import CAPTIONS


def build() -> Retrieval:
    return Retrieval(Dimensions(len(CAPTIONS)))


RETRIEVAL = Task(
    name="demo-retrieval",
    architecture="BlipForImageTextRetrieval",
    parent=None,
    vocabulary=CAPTIONS,
    plan=Plan(steps=4000),
    build=build,
    teach=Matching,
    measure=measure,
    figures=figures,
    prose=PROSE,
)
