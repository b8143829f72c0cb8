"""Answers through transformers' own class: the reference that the figures on a model's card are taken with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import BlipForQuestionAnswering

from demo.references import NEW_TOKENS, Protocol, Said, Writing


class Answerer:
    """A saved folder, answering greedily in float32."""

    def __init__(self, folder: Path) -> None:
        self.writing = Writing(folder)
        self.model = BlipForQuestionAnswering.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def answers(self, pictures: Sequence[Image.Image], questions: Sequence[str], protocol: Protocol) -> list[Said]:
        """One to each picture's question. The paper's cleaning would change none of the questions asked here."""
        said: dict[int, Said] = {}
        for places, ids in self.writing.chunks(questions):
            if protocol == "paper":
                ids[:, 0] = self.writing.enc
            rows = self.model.generate(
                input_ids=ids,
                pixel_values=self.writing.pixels([pictures[place] for place in places]),
                attention_mask=torch.ones_like(ids),  # type: ignore[arg-type]
                max_new_tokens=NEW_TOKENS,
            )
            said |= {place: self.writing.said(row) for place, row in zip(places, rows, strict=True)}
        return [said[place] for place in range(len(pictures))]
