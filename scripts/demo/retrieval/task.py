"""The retrieval task."""

from __future__ import annotations

from random import Random

from demo.captions import Speaker
from demo.dimensions import Dimensions
from demo.model import Retrieval
from demo.pointing import Told
from demo.retrieval.evaluation import measure
from demo.retrieval.lesson import Matching
from demo.retrieval.prose import PROSE, figures
from demo.task import Task
from demo.training import Plan
from demo.vocabulary import CAPTIONS
from demo.world import Scene


def build() -> Retrieval:
    return Retrieval(Dimensions(len(CAPTIONS)))


def tell(scene: Scene, rng: Random) -> tuple[Told, ...]:
    """Everything, in either order of the things."""
    return (Told(Speaker(rng).full(scene).words),)


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
    methods=("gradcam", "attention"),
    tell=tell,
)
