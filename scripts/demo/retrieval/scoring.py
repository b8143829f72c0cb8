"""Scoring through transformers' own classes: the reference that the figures on a model's card are taken with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipForImageTextRetrieval, BlipProcessor

from demo.references import Protocol

_PAPER_TOKENS = 35  # salesforce/BLIP:train_retrieval.py
_PAPER_WORDS = 30  # salesforce/BLIP:data/utils.py:pre_caption
_CHUNK = 250


def pre_caption(text: str) -> str:
    """The caption as the paper's code cleans it."""
    text = re.sub(r"([.!\"()*#:;~])", " ", text.lower())
    return " ".join(text.split()[:_PAPER_WORDS])


class Scorer:
    """A saved folder, answering in float32."""

    def __init__(self, folder: Path) -> None:
        self.processor = BlipProcessor.from_pretrained(folder)
        self.model = BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()  # type: ignore[no-untyped-call]
        self.enc = len(self.processor.tokenizer) - 1  # [ENC] is the last word of the vocabulary

    @torch.inference_mode()
    def images(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(N, S, D) encoded pictures."""
        parts = []
        for start in range(0, len(pictures), _CHUNK):
            inputs = self.processor(images=list(pictures[start : start + _CHUNK]), return_tensors="pt")
            parts.append(self.model.vision_model(pixel_values=inputs["pixel_values"]).last_hidden_state)
        return torch.cat(parts)

    @torch.inference_mode()
    def cosines(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """(pictures, captions)."""
        ids, mask = self._tokens(captions, "hf")
        text = self.model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        image_vectors = F.normalize(self.model.vision_proj(images[:, 0]), dim=-1)
        return image_vectors @ F.normalize(self.model.text_proj(text[:, 0]), dim=-1).T

    @torch.inference_mode()
    def log_odds(self, images: Tensor, captions: Sequence[str], protocol: Protocol) -> Tensor:
        """(N,) match logit less no-match logit of N pairs: positive where the probability is above one half."""
        ids, mask = self._tokens(captions, protocol)
        if protocol == "paper":
            ids[:, 0] = self.enc
        parts = []
        for start in range(0, len(ids), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            hidden = self.model.text_encoder(
                input_ids=ids[chunk],
                attention_mask=mask[chunk],
                encoder_hidden_states=images[chunk],
                encoder_attention_mask=torch.ones(images[chunk].shape[:2], dtype=torch.long),
            ).last_hidden_state
            logits = self.model.itm_head(hidden[:, 0])
            parts.append(logits[:, 1] - logits[:, 0])
        return torch.cat(parts)

    def _tokens(self, captions: Sequence[str], protocol: Protocol) -> tuple[Tensor, Tensor]:
        if protocol == "hf":
            inputs = self.processor.tokenizer(list(captions), padding=True, return_tensors="pt")
        else:
            inputs = self.processor.tokenizer(
                [pre_caption(caption) for caption in captions],
                padding="max_length",
                truncation=True,
                max_length=_PAPER_TOKENS,
                return_tensors="pt",
            )
        return inputs["input_ids"], inputs["attention_mask"]
