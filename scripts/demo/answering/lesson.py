"""What answering is taught: the word that answers a question about a picture."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from demo.answering.batches import QUESTIONS, Batches
from demo.model import Answering
from demo.padding import padded
from demo.sequences import Sequences, Text
from demo.training import Lesson, Plan


class Replying(Lesson[Answering]):
    """The loss of the answer's words, with [CLS] and [ENC] in position 0 of the question by turns."""

    weights: ClassVar = {"word": 1.0}

    def __init__(self, model: Answering, plan: Plan) -> None:
        super().__init__(model)
        self.batches = Batches(plan.seed, plan.batch)

    def forward(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = self.batches(step)
        rows = [QUESTIONS.framed(question.words) for question in batch.questions]
        ids, mask = padded(rows), padded([[1] * len(row) for row in rows])
        ids[torch.rand(len(ids), generator=generator) < 0.5, 0] = QUESTIONS.ids["[ENC]"]
        asked = self.model.text_encoder(ids, mask, self.model.vision_model(batch.pixels))
        answers = Sequences.of([Text((question.answer,)) for question in batch.questions], QUESTIONS)
        return answers.losses(self.model.text_decoder(answers.ids, asked, mask))
