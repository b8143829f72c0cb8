"""Where a training begins: the weights of an exported checkpoint. Knows names, no task."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from demo.files import CHECKPOINTS
from demo.task import Task
from demo.vocabulary import Vocabulary

_EMBEDDINGS = "embeddings.word_embeddings.weight"


class Parent:
    """An exported checkpoint whose towers others begin with."""

    def __init__(self, task: Task[Any]) -> None:
        self.weights = load_file(CHECKPOINTS / task.name / "model.safetensors")
        self.vocabulary = task.vocabulary

    def give_vision(self, vision: nn.Module) -> None:
        vision.load_state_dict(self._tower("vision_model."))

    def give_text(self, text: nn.Module, vocabulary: Vocabulary) -> None:
        """Words that the parent does not have keep the rows they were made with."""
        tower = self._tower("text_encoder.")
        known = tower[_EMBEDDINGS]
        rows: Tensor = text.state_dict()[_EMBEDDINGS].clone()
        for word, row in zip(self.vocabulary.words, known, strict=True):
            rows[vocabulary.ids[word]] = row
        text.load_state_dict({**tower, _EMBEDDINGS: rows})

    def _tower(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor.to(torch.float32)
            for name, tensor in self.weights.items()
            if name.startswith(prefix)
        }
