"""The reference: transformers' classes with the PIL processor, float32, one pair at a time."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipForImageTextRetrieval, BlipProcessor

from blip_serve.domain import ScoringProtocol


class Reference:
    """`BlipForImageTextRetrieval`, asked as its model card asks it, or as the paper's evaluation does."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32)
        self.processor: Any = BlipProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def score(self, image: bytes, caption: str, protocol: ScoringProtocol = "hf") -> tuple[list[float], float]:
        """ITM logits and the cosine."""
        pixels = self._pixels(image)
        text = self._text(caption, protocol)
        matching = dict(text)
        if protocol == "paper":
            matching["input_ids"] = text["input_ids"].clone()
            matching["input_ids"][:, 0] = self.model.config.text_config.vocab_size - 1
        logits = self.model(pixel_values=pixels, **matching).itm_score[0]
        cosine = self.model(pixel_values=pixels, **text, use_itm_head=False).itm_score[0, 0]
        return logits.tolist(), float(cosine)

    @torch.inference_mode()
    def image_vector(self, image: bytes) -> Tensor:
        """(E,) unit vector."""
        tokens = self.model.vision_model(self._pixels(image)).last_hidden_state
        return F.normalize(self.model.vision_proj(tokens[0, 0]), dim=-1)

    @torch.inference_mode()
    def text_vector(self, caption: str, protocol: ScoringProtocol = "hf") -> Tensor:
        """(E,) unit vector."""
        states = self.model.text_encoder(**self._text(caption, protocol)).last_hidden_state
        return F.normalize(self.model.text_proj(states[0, 0]), dim=-1)

    def _pixels(self, image: bytes) -> Tensor:
        opened = Image.open(BytesIO(image)).convert("RGB")
        pixels: Tensor = self.processor.image_processor(opened, return_tensors="pt")["pixel_values"]
        return pixels

    def _text(self, caption: str, protocol: ScoringProtocol) -> dict[str, Tensor]:
        if protocol == "hf":
            text = self.processor.tokenizer(caption, return_tensors="pt", return_token_type_ids=False)
        else:
            text = self.processor.tokenizer(
                pre_caption(caption, 30),
                padding="max_length",
                truncation=True,
                max_length=35,
                return_tensors="pt",
                return_token_type_ids=False,
            )
        return dict(text)


def pre_caption(caption: str, max_words: int) -> str:
    """What salesforce/BLIP:data/utils.py does to a caption."""
    caption = re.sub(r"([.!\"()*#:;~])", " ", caption.lower())
    caption = re.sub(r"\s{2,}", " ", caption)
    words = caption.rstrip("\n").strip(" ").split(" ")
    return " ".join(words[:max_words])
