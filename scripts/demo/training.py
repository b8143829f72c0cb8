"""Training: the losses, the schedule, the averaged weights, and a loop that can be taken up again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.batches import Batch, Batches, Words, mention_labels, pair_weights, truth
from demo.captions import Caption, says_all
from demo.dimensions import Dimensions
from demo.model import Retrieval
from demo.vocabulary import ENC
from demo.world import COLOURS, SHAPES, SIZES

WEIGHTS = {"itc": 1.0, "itm": 2.0, "token": 1.0, "patch": 0.5, "pairs": 0.2}

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Plan:
    """What a training run is made of."""

    steps: int
    seed: int = 0
    batch: int = 64
    rate: float = 1.5e-3
    warm_up: int = 200
    falling: float = 0.4  # the last share of the steps, over which the rate falls to nothing
    decay: float = 0.05
    average: float = 0.999
    report_every: int = 100

    def rate_at(self, step: int) -> float:
        left = (self.steps - step) / (self.falling * self.steps)
        return self.rate * min((step + 1) / self.warm_up, 1.0, left)


class Heads(nn.Module):
    """Extra questions asked while training, thrown away after: they teach where each attribute is."""

    pair_weights: Tensor

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.kinds = (len(SIZES) + 1, len(COLOURS) + 1, len(SHAPES) + 1)
        self.patch = nn.Linear(dimensions.width, sum(self.kinds))
        self.token = nn.Linear(dimensions.width, 2)
        self.pairs = nn.Linear(dimensions.joint, len(pair_weights()))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_buffer("pair_weights", pair_weights(), persistent=False)


class Losses:
    """ITC, ITM and the extra questions, on one batch."""

    def __init__(self, model: Retrieval, heads: Heads) -> None:
        self.model = model
        self.heads = heads

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        image = self.model.vision_model(batch.pixels)
        words = Words.of(batch.captions)
        text = self.model.text_encoder(words.ids, words.mask)
        cosines = self.model.image_vector(image) @ self.model.text_vector(text).T
        true = truth(batch.scenes, batch.captions)
        mined = _mine(cosines, true, batch.captions, generator)
        candidates = [[*own, other] for own, other in zip(batch.candidates, mined, strict=True)]
        return {
            "itc": self._itc(cosines, true),
            **self._itm(image, batch, candidates, generator),
            "patch": self._patch(image, batch.patches),
            "pairs": self._pairs(image, text, batch),
        }

    def _itc(self, cosines: Tensor, true: Tensor) -> Tensor:
        """Contrast in both directions; a caption that is true of another picture too is no negative there."""
        own = torch.eye(len(true), dtype=torch.bool)
        logits = (cosines * self.heads.log_scale.exp().clamp(max=100.0)).masked_fill(true & ~own, -1e4)
        labels = torch.arange(len(true))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    def _itm(
        self, image: Tensor, batch: Batch, candidates: list[list[Caption]], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Match or not, with [CLS] and [ENC] in position 0 by turns, and which mention is false."""
        words = Words.of([caption for captions in candidates for caption in captions])
        ids = words.ids.clone()
        ids[torch.rand(len(ids), generator=generator) < 0.5, 0] = ENC
        hidden = self.model.text_encoder(ids, words.mask, image)
        labels, tokens = mention_labels(batch.scenes, candidates, words.owners)
        logits = self.model.itm_head(hidden[:, 0])
        share = labels.float().mean()
        weights = torch.stack([0.5 / (1 - share), 0.5 / share])
        right = (logits.argmax(dim=-1) == labels).float()
        balanced = (right[labels == 1].mean() + right[labels == 0].mean()) / 2
        return {
            "itm": F.cross_entropy(logits, labels, weight=weights),
            "token": F.cross_entropy(self.heads.token(hidden).flatten(0, 1), tokens.flatten()),
            "itm_accuracy": balanced.detach(),
        }

    def _patch(self, image: Tensor, labels: Tensor) -> Tensor:
        parts = self.heads.patch(image[:, 1:]).split(self.heads.kinds, dim=-1)
        losses = [F.cross_entropy(part.flatten(0, 1), labels[..., at].flatten()) for at, part in enumerate(parts)]
        return torch.stack(losses).sum()

    def _pairs(self, image: Tensor, text: Tensor, batch: Batch) -> Tensor:
        """Which pairs of attributes are there, read from the vectors of the picture and of a caption that says all."""
        told = [says_all(caption, scene) for caption, scene in zip(batch.captions, batch.scenes, strict=True)]
        vectors = torch.cat([self.model.vision_proj(image[:, 0]), self.model.text_proj(text[:, 0])])
        rows = torch.cat([torch.ones(len(image)), torch.tensor(told).float()])
        targets = torch.cat([batch.pairs, batch.pairs])
        loss = F.binary_cross_entropy_with_logits(self.heads.pairs(vectors), targets, reduction="none")
        return ((loss * self.heads.pair_weights).sum(dim=1) * rows).sum() / rows.sum()


def _mine(cosines: Tensor, true: Tensor, captions: list[Caption], generator: torch.Generator) -> list[Caption]:
    """For each picture a false caption of another one, the likelier the closer."""
    weights = (cosines.detach() * 20.0).masked_fill(true, -1e4).softmax(dim=1) + 1e-9
    chosen = torch.multinomial(weights.masked_fill(true, 0.0), 1, generator=generator)
    return [captions[index] for index in chosen[:, 0].tolist()]


class Trainer:
    """A model, its average and its optimiser, from the first step to the last."""

    def __init__(self, plan: Plan, dimensions: Dimensions) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.model = Retrieval(dimensions)
        self.average = Retrieval(dimensions)
        self.average.load_state_dict(self.model.state_dict())
        self.heads = Heads(dimensions)
        self.losses = Losses(self.model, self.heads)
        self.batches = Batches(plan.seed, plan.batch, dimensions.patch)
        self.optimiser = torch.optim.AdamW(_groups(self.model, self.heads, plan.decay), betas=(0.9, 0.98))
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
            group["lr"] = self.plan.rate_at(self.step)
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step)
        losses = self.losses(self.batches(self.step), generator)
        total = torch.stack([weight * losses[name] for name, weight in WEIGHTS.items()]).sum()
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*self.model.parameters(), *self.heads.parameters()], 1.0)
        self.optimiser.step()
        self._follow()
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average towards the model, faster while the training is young."""
        keep = min(self.plan.average, (self.step + 1) / (self.step + 10))
        own: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(own, list(self.model.parameters()), 1 - keep)

    def save(self, path: Path) -> None:
        parts = {name: getattr(self, name).state_dict() for name in ("model", "average", "heads", "optimiser")}
        partial = path.with_suffix(".partial")
        torch.save({**parts, "step": self.step, "seconds": self.seconds, "resumed_at": self.resumed_at}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        saved = torch.load(path, weights_only=True)
        for name in ("model", "average", "heads", "optimiser"):
            getattr(self, name).load_state_dict(saved[name])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.resumed_at = [*saved["resumed_at"], self.step]


def _groups(model: Retrieval, heads: Heads, decay: float) -> list[dict[str, object]]:
    """Matrices decay, vectors do not."""
    parameters = [*model.parameters(), *heads.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
