"""The package's reference, with what only tests ask of it: vectors, log-probabilities and likelihoods.

In float32, as the scores that this service promises to equal are; in float64 they have no rounding of their own.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from blip_serve.domain import ScoringProtocol
from blip_serve.models import reference
from blip_serve.models.reference import pre_caption, pre_question

__all__ = ["AnswerReference", "CaptionReference", "Reference", "pixels_of", "pre_caption", "pre_question"]


class Reference(reference.MatchReference):
    """With the vectors."""

    @torch.inference_mode()
    def image_vector(self, image: bytes) -> Tensor:
        """(E,) unit vector."""
        tokens = self.model.vision_model(self.words.pixels(image)).last_hidden_state
        return F.normalize(self.model.vision_proj(tokens[0, 0]), dim=-1)

    @torch.inference_mode()
    def text_vector(self, caption: str, protocol: ScoringProtocol = "hf") -> Tensor:
        """(E,) unit vector."""
        states = self.model.text_encoder(**self.caption(caption, protocol)).last_hidden_state
        return F.normalize(self.model.text_proj(states[0, 0]), dim=-1)


class CaptionReference(reference.CaptionReference):
    """With log-probabilities."""

    @torch.inference_mode()
    def logprobs(self, image: bytes, prompt: list[int], ids: list[int]) -> Tensor:
        """(T, V) log-softmax in front of each of `ids`, which stand behind `[DEC]` and the prompt."""
        tokens = _tokens(self, image)
        given = torch.tensor([[self.model.config.text_config.bos_token_id, *prompt, *ids[:-1]]])
        logits = self.model.text_decoder(
            given, attention_mask=torch.ones_like(given), encoder_hidden_states=tokens
        ).logits[0]
        found: Tensor = logits.log_softmax(dim=-1)[len(prompt) :]
        return found


class AnswerReference(reference.AnswerReference):
    """With the likelihood of given answers, by its own modules."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(folder, dtype)
        self._tokens: dict[bytes, Tensor] = {}

    @torch.inference_mode()
    def log_likelihood(self, image: bytes, question: str, answer: str, protocol: ScoringProtocol = "hf") -> float:
        """The summed log-softmax of `a1 ... an [SEP]` behind `[DEC] a1 ... an`."""
        model, config = self.model, self.model.config.text_config
        if image not in self._tokens:  # at full size in float64 an image takes seconds
            self._tokens[image] = _tokens(self, image)
        tokens = self._tokens[image]
        read = model.text_encoder(**self.question(question, protocol), encoder_hidden_states=tokens).last_hidden_state
        words = self.words.tokenizer(answer)["input_ids"][1:-1]
        given = torch.tensor([[config.bos_token_id, *words]])
        logits = model.text_decoder(given, attention_mask=torch.ones_like(given), encoder_hidden_states=read).logits[0]
        asked = torch.tensor([*words, config.sep_token_id])
        return float(logits.log_softmax(dim=-1).gather(1, asked[:, None]).double().sum())

    @torch.inference_mode()
    def yes(self, image: bytes, question: str, protocol: ScoringProtocol = "hf") -> float:
        """P(yes) / (P(yes) + P(no)) of the first token behind `[DEC]`."""
        model, config = self.model, self.model.config.text_config
        read = model.text_encoder(
            **self.question(question, protocol), encoder_hidden_states=_tokens(self, image)
        ).last_hidden_state
        given = torch.tensor([[config.bos_token_id]])
        logits = model.text_decoder(given, attention_mask=torch.ones_like(given), encoder_hidden_states=read).logits
        shares = logits[0, 0].double().softmax(dim=-1)
        yes, no = (shares[self.words.tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
        return float(yes / (yes + no))

    def terms(self, answer: str) -> int:
        """How many log-probabilities the likelihood of an answer sums."""
        return len(self.words.tokenizer(answer)["input_ids"]) - 1


def pixels_of(processor: Any, image: bytes) -> Tensor:
    """(1, 3, S, S) as a processor of transformers makes them."""
    opened = Image.open(BytesIO(image)).convert("RGB")
    pixels: Tensor = processor.image_processor(opened, return_tensors="pt")["pixel_values"]
    return pixels


def _tokens(of: Any, image: bytes) -> Tensor:
    """(1, P, D) of an image."""
    tokens: Tensor = of.model.vision_model(of.words.pixels(image).to(of.model.dtype)).last_hidden_state
    return tokens
