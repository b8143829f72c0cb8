"""A task: all that tells the training of one checkpoint from that of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Generic

from blip_serve.domain import ExplainMethod
from demo.pointing import Told
from demo.training import Lesson, Model, Plan
from demo.vocabulary import Vocabulary
from demo.world import Scene

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A measured share that has a goal."""

    name: str
    value: float
    goal: float


@dataclass(frozen=True)
class Prose:
    """What a card says of a task: Markdown, but for the language, which goes into card.json."""

    task: str
    description: str
    language: Mapping[str, object]  # what the checkpoint reads or writes
    knows: str
    measured: Callable[[Metrics], str]
    taught: str


@dataclass(frozen=True)
class Task(Generic[Model]):
    """How a checkpoint is built, taught, measured and described."""

    name: str  # of its folder
    architecture: str  # transformers' class
    parent: str | None  # the checkpoint that it begins with
    vocabulary: Vocabulary
    plan: Plan
    build: Callable[[], Model]
    teach: Callable[[Model, Plan], Lesson[Model]]
    measure: Callable[[Path], Metrics]
    figures: Callable[[Metrics], list[Figure]]
    prose: Prose
    methods: tuple[ExplainMethod, ...]  # of maps, its own first
    tell: Callable[[Scene, Random], tuple[Told, ...]]  # what the pointing game says of a scene
