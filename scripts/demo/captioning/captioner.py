"""Captions through transformers' own class: the reference that the figures on a model's card are taken with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import BlipForConditionalGeneration

from demo.references import NEW_TOKENS, Said, Writing


class Captioner:
    """A saved folder, captioning greedily in float32."""

    def __init__(self, folder: Path) -> None:
        self.writing = Writing(folder)
        self.model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def captions(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Said]:
        """One of each picture, which begins with its prompt; an empty prompt for none."""
        said: dict[int, Said] = {}
        for places, ids in self.writing.chunks(prompts):
            pixels = self.writing.pixels([pictures[place] for place in places])
            rows = self.model.generate(
                pixel_values=pixels,
                input_ids=ids,
                attention_mask=torch.ones_like(ids),  # type: ignore[arg-type]
                max_new_tokens=NEW_TOKENS,
            )
            said |= {place: self.writing.said(row) for place, row in zip(places, rows, strict=True)}
        return [said[place] for place in range(len(pictures))]
