"""What the references through transformers' own classes have in common: protocols, pixels, words in, words out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from transformers import BlipProcessor

Protocol = Literal["hf", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("hf", "paper")
NEW_TOKENS = 20  # at most, the model card's default
_CHUNK = 250


@dataclass(frozen=True)
class Said:
    """What a decoder wrote, and whether it ended by itself."""

    text: str
    ended: bool


class Writing:
    """A folder's processor, for a decoder's inputs and outputs."""

    def __init__(self, folder: Path) -> None:
        self.processor = BlipProcessor.from_pretrained(folder)
        self.enc = len(self.processor.tokenizer) - 1  # [ENC] is the last word of the vocabulary

    def pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(N, 3, H, W)."""
        result: Tensor = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        return result

    def chunks(self, texts: Sequence[str]) -> Iterator[tuple[list[int], torch.LongTensor]]:
        """The places of texts of one length and their ids (n, T): transformers' results change with padding."""
        rows: list[list[int]] = [self.processor.tokenizer(text)["input_ids"] for text in texts]
        places = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        for _, group in groupby(places, key=lambda place: len(rows[place])):
            alike = list(group)
            for start in range(0, len(alike), _CHUNK):
                chunk = alike[start : start + _CHUNK]
                yield chunk, torch.LongTensor([rows[place] for place in chunk])

    def said(self, row: Tensor) -> Said:
        """Of (T,) ids that begin with [DEC]."""
        tokenizer = self.processor.tokenizer
        text: str = tokenizer.decode(row[1:], skip_special_tokens=True)
        return Said(text, tokenizer.sep_token_id in row.tolist())
