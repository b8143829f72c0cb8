"""Training: the schedule, the averaged weights, and a loop that can be taken up again. Knows no task."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)
Report = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Plan:
    """What a training run is made of."""

    steps: int
    seed: int = 0
    batch: int = 64
    rate: float = 1.5e-3
    vision_rate: float = 1.0  # the vision tower's share of the rate
    warm_up: int = 200
    falling: float = 0.4  # the last share of the steps, over which the rate falls to nothing
    decay: float = 0.05
    average: float = 0.999
    bfloat16: bool = False  # for the products of matrices
    report_every: int = 100

    def rate_at(self, step: int) -> float:
        left = (self.steps - step) / (self.falling * self.steps)
        return self.rate * min((step + 1) / self.warm_up, 1.0, left)


class Lesson(nn.Module, ABC, Generic[Model]):
    """What a model is taught: draws the batch of a step and tells the model's losses on it.

    What it holds beside the model is trained along with it and thrown away after.
    """

    weights: ClassVar[Mapping[str, float]]  # of the losses that are learnt from; the others are only told

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, step: int, generator: torch.Generator) -> dict[str, Tensor]: ...


class Trainer(Generic[Model]):
    """A model, its average and its optimiser, from the first step to the last."""

    def __init__(self, plan: Plan, build: Callable[[], Model], teach: Callable[[Model, Plan], Lesson[Model]]) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        model = build()
        self.average = build()
        self.average.load_state_dict(model.state_dict())
        self.lesson = teach(model, plan)
        self.optimiser = torch.optim.AdamW(_groups(self.lesson, plan), betas=(0.9, 0.98))
        self.step = 0
        self.seconds = 0.0
        self.resumed_at: list[int] = []

    def run(self, report: Report) -> None:
        started = time.monotonic() - self.seconds
        recent: list[dict[str, float]] = []
        while self.step < self.plan.steps:
            recent.append(self._one_step())
            self.step += 1
            self.seconds = time.monotonic() - started
            if self.step % self.plan.report_every == 0 or self.step == self.plan.steps:
                report(self.step, {name: fmean(row[name] for row in recent) for name in recent[0]})
                recent.clear()

    def _one_step(self) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.step) * group["share"]
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.bfloat16):
            losses: dict[str, Tensor] = self.lesson(self.step, generator)
        total = torch.stack([weight * losses[name] for name, weight in self.lesson.weights.items()]).sum()
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.lesson.parameters(), 1.0)
        self.optimiser.step()
        self._follow()
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average towards the model, faster while the training is young."""
        keep = min(self.plan.average, (self.step + 1) / (self.step + 10))
        own: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(own, list(self.lesson.model.parameters()), 1 - keep)

    def save(self, path: Path) -> None:
        parts = {name: getattr(self, name).state_dict() for name in ("lesson", "average", "optimiser")}
        partial = path.with_suffix(".partial")
        torch.save({**parts, "step": self.step, "seconds": self.seconds, "resumed_at": self.resumed_at}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        for name in ("lesson", "average", "optimiser"):
            getattr(self, name).load_state_dict(saved[name])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.resumed_at = [*saved["resumed_at"], *([self.step] if self.step < self.plan.steps else [])]


def _groups(lesson: Lesson[Model], plan: Plan) -> list[dict[str, object]]:
    """Matrices decay, vectors do not; the vision tower has a rate of its own."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in lesson.named_parameters():
        key = (parameter.ndim > 1, name.startswith("model.vision_model."))
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": plan.decay if matrices else 0.0,
            "share": plan.vision_rate if vision else 1.0,
        }
        for (matrices, vision), parameters in groups.items()
    ]
