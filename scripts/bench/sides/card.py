"""(a): what the model cards show, with transformers; (a+): what a careful user makes of it.

From a JPEG file's bytes to the answer. Kinder than the cards: no gradients are kept.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipProcessor
from transformers.utils import logging

quiet: Any = logging  # untyped
quiet.set_verbosity_error()
quiet.disable_progress_bar()


class CardMatcher:
    """`BlipForImageTextRetrieval`."""

    def __init__(self, folder: Path, dtype: str, device: str) -> None:
        """`dtype`: torch's name of a number type."""
        self._to: dict[str, Any] = {"device": device, "dtype": getattr(torch, dtype)}
        loaded: Any = BlipForImageTextRetrieval.from_pretrained(folder, dtype=self._to["dtype"])
        self._model = loaded.to(device)
        self._processor: Any = BlipProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def score(self, picture: bytes, caption: str) -> float:
        """The probability that they match: the card's code."""
        inputs = self._processor(opened(picture), caption, return_tensors="pt").to(**self._to)
        return _probability(self._model(**inputs).itm_score)[0]

    @torch.inference_mode()
    def score_batch(self, pictures: Sequence[bytes], captions: Sequence[str]) -> list[float]:
        """Picture by picture with its caption, in one batch: for servers that batch."""
        images = [opened(picture) for picture in pictures]
        inputs = self._processor(images, list(captions), padding=True, return_tensors="pt").to(**self._to)
        return _probability(self._model(**inputs).itm_score)

    @torch.inference_mode()
    def score_carefully(self, picture: bytes, captions: Sequence[str]) -> list[float]:
        """(a+): the picture is encoded once, and stands beside each caption of one batch."""
        inputs = self._processor(opened(picture), list(captions), padding=True, return_tensors="pt").to(**self._to)
        image = self._model.vision_model(inputs["pixel_values"]).last_hidden_state
        states = self._model.text_encoder(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            encoder_hidden_states=image.expand(len(captions), -1, -1),
            encoder_attention_mask=torch.ones(len(captions), image.shape[1], device=image.device),
        ).last_hidden_state
        return _probability(self._model.itm_head(states[:, 0]))

    @torch.inference_mode()
    def embed(self, source: bytes | str) -> list[float]:
        """The unit vector of a picture or a text."""
        if isinstance(source, bytes):
            inputs = self._processor(opened(source), return_tensors="pt").to(**self._to)
            vector = self._model.vision_proj(self._model.vision_model(**inputs).last_hidden_state[:, 0])
        else:
            inputs = self._processor(text=source, return_tensors="pt").to(self._to["device"])
            states = self._model.text_encoder(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
            vector = self._model.text_proj(states[:, 0])
        found: list[float] = F.normalize(vector.float(), dim=-1)[0].tolist()
        return found

    def pixels(self, pictures: Sequence[bytes]) -> Tensor:
        """The pictures as (B, 3, S, S) normalised pixels, float32 on the CPU."""
        images = [opened(picture) for picture in pictures]
        found: Tensor = self._processor(images, return_tensors="pt")["pixel_values"]
        return found

    @torch.inference_mode()
    def image_tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D)."""
        tokens: Tensor = self._model.vision_model(pixels.to(**self._to)).last_hidden_state
        return tokens


class CardCaptioner:
    """`BlipForConditionalGeneration`."""

    def __init__(self, folder: Path, dtype: str, device: str) -> None:
        """`dtype`: torch's name of a number type."""
        self._to: dict[str, Any] = {"device": device, "dtype": getattr(torch, dtype)}
        loaded: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=self._to["dtype"])
        self._model = loaded.to(device)
        self._processor: Any = BlipProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def caption(self, picture: bytes, tokens: int, beams: int) -> str:
        """A caption of exactly `tokens` tokens."""
        inputs = self._processor(opened(picture), return_tensors="pt").to(**self._to)
        ids = self._model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, num_beams=beams)
        text: str = self._processor.decode(ids[0], skip_special_tokens=True)
        return text

    @torch.inference_mode()
    def likelihood(self, picture: bytes, text: str) -> float:
        """The mean natural log-probability of the tokens of `text` as a caption."""
        inputs = self._processor(opened(picture), text, return_tensors="pt").to(**self._to)
        words = inputs["input_ids"][:, 1:-1]
        given = torch.cat([torch.full_like(words[:, :1], self._model.config.text_config.bos_token_id), words], dim=1)
        tokens = self._model.vision_model(inputs["pixel_values"]).last_hidden_state
        decoded = self._model.text_decoder(
            given, attention_mask=torch.ones_like(given), encoder_hidden_states=tokens
        ).logits
        found = decoded[:, :-1].float().log_softmax(dim=-1).gather(2, words[:, :, None])
        return float(found.mean())


def opened(picture: bytes) -> Image.Image:
    """The picture of a file's bytes."""
    return Image.open(BytesIO(picture)).convert("RGB")


def _probability(logits: Tensor) -> list[float]:
    """(N, 2) logits to N probabilities of a match."""
    found: list[float] = logits.float().softmax(dim=1)[:, 1].tolist()
    return found
