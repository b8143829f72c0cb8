"""What retrieval is taught: contrast, matching, and extra questions that are thrown away."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.captions import Caption, says_all
from demo.dimensions import Dimensions
from demo.model import Retrieval
from demo.retrieval.batches import Batch, Batches, Words, mention_labels, pair_weights, truth
from demo.training import Lesson, Plan
from demo.vocabulary import CAPTIONS
from demo.world import COLOURS, SHAPES, SIZES


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


class Matching(Lesson[Retrieval]):
    """ITC, ITM and the extra questions."""

    weights: ClassVar = {"itc": 1.0, "itm": 2.0, "token": 1.0, "patch": 0.5, "pairs": 0.2}

    def __init__(self, model: Retrieval, plan: Plan) -> None:
        super().__init__(model)
        dimensions = Dimensions(len(CAPTIONS))
        self.heads = Heads(dimensions)
        self.batches = Batches(plan.seed, plan.batch, dimensions.patch)

    def forward(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = self.batches(step)
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
        ids[torch.rand(len(ids), generator=generator) < 0.5, 0] = CAPTIONS.ids["[ENC]"]
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
