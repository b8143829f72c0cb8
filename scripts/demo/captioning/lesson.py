"""What captioning is taught: the next word of a caption, from the words before it and the picture."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from demo.captioning.batches import Batches
from demo.model import Captioning
from demo.sequences import Sequences
from demo.training import Lesson, Plan
from demo.vocabulary import CAPTIONS


class Telling(Lesson[Captioning]):
    """The loss of the next word."""

    weights: ClassVar = {"word": 1.0}

    def __init__(self, model: Captioning, plan: Plan) -> None:
        super().__init__(model)
        self.batches = Batches(plan.seed, plan.batch)

    def forward(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = self.batches(step)
        sequences = Sequences.of(batch.texts, CAPTIONS)
        logits = self.model.text_decoder(sequences.ids, self.model.vision_model(batch.pixels))
        return sequences.losses(logits)
