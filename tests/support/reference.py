"""The reference: transformers' classes with the PIL processor, one pair at a time.

In float32, as the scores that this service promises to equal are; in float64 they have no rounding of their own.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipProcessor,
)

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
        return pixels_of(self.processor, image)

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


class CaptionReference:
    """`BlipForConditionalGeneration.generate`, one image at a time."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=dtype)
        self.processor: Any = BlipProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def generate(self, image: bytes, prompt: str = "", **options: Any) -> tuple[list[list[int]], list[str]]:
        """Ids behind the prompt, the end included, and the whole texts; `options` are those of `generate`."""
        text = self.processor.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        found = self.model.generate(pixel_values=self._pixels(image), **text, **options).tolist()
        texts = [self.processor.decode(row[1:], skip_special_tokens=True) for row in found]
        return [_generated(row, len(text["input_ids"][0]) - 1, self.model) for row in found], texts

    @torch.inference_mode()
    def logprobs(self, image: bytes, prompt: list[int], ids: list[int]) -> Tensor:
        """(T, V) log-softmax in front of each of `ids`, which stand behind `[DEC]` and the prompt."""
        tokens = self.model.vision_model(self._pixels(image)).last_hidden_state
        given = torch.tensor([[self.model.config.text_config.bos_token_id, *prompt, *ids[:-1]]])
        logits = self.model.text_decoder(
            given, attention_mask=torch.ones_like(given), encoder_hidden_states=tokens
        ).logits[0]
        found: Tensor = logits.log_softmax(dim=-1)[len(prompt) :]
        return found

    def _pixels(self, image: bytes) -> Tensor:
        return pixels_of(self.processor, image).to(self.model.dtype)


class AnswerReference:
    """`BlipForQuestionAnswering.generate`, and the likelihood of given answers, by its own modules."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model: Any = BlipForQuestionAnswering.from_pretrained(folder, dtype=dtype)
        self.processor: Any = BlipProcessor.from_pretrained(folder)
        self._tokens: dict[bytes, Tensor] = {}

    @torch.inference_mode()
    def generate(
        self, image: bytes, question: str, protocol: ScoringProtocol = "hf", **options: Any
    ) -> tuple[list[list[int]], list[str]]:
        """Ids, the end included, and the texts."""
        pixels = self._pixels(image)
        found = self.model.generate(pixel_values=pixels, **self._question(question, protocol), **options).tolist()
        texts = [self.processor.decode(row[1:], skip_special_tokens=True) for row in found]
        return [_generated(row, 1, self.model) for row in found], texts

    @torch.inference_mode()
    def log_likelihood(self, image: bytes, question: str, answer: str, protocol: ScoringProtocol = "hf") -> float:
        """The summed log-softmax of `a1 ... an [SEP]` behind `[DEC] a1 ... an`."""
        model, config = self.model, self.model.config.text_config
        if image not in self._tokens:  # at full size in float64 an image takes seconds
            self._tokens[image] = model.vision_model(self._pixels(image)).last_hidden_state
        tokens = self._tokens[image]
        read = model.text_encoder(**self._question(question, protocol), encoder_hidden_states=tokens).last_hidden_state
        words = self.processor.tokenizer(answer)["input_ids"][1:-1]
        given = torch.tensor([[config.bos_token_id, *words]])
        logits = model.text_decoder(given, attention_mask=torch.ones_like(given), encoder_hidden_states=read).logits[0]
        asked = torch.tensor([*words, config.sep_token_id])
        return float(logits.log_softmax(dim=-1).gather(1, asked[:, None]).double().sum())

    @torch.inference_mode()
    def yes(self, image: bytes, question: str, protocol: ScoringProtocol = "hf") -> float:
        """P(yes) / (P(yes) + P(no)) of the first token behind `[DEC]`."""
        model, config = self.model, self.model.config.text_config
        tokens = model.vision_model(self._pixels(image)).last_hidden_state
        read = model.text_encoder(**self._question(question, protocol), encoder_hidden_states=tokens).last_hidden_state
        given = torch.tensor([[config.bos_token_id]])
        logits = model.text_decoder(given, attention_mask=torch.ones_like(given), encoder_hidden_states=read).logits
        shares = logits[0, 0].double().softmax(dim=-1)
        yes, no = (shares[self.processor.tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
        return float(yes / (yes + no))

    def terms(self, answer: str) -> int:
        """How many log-probabilities the likelihood of an answer sums."""
        return len(self.processor.tokenizer(answer)["input_ids"]) - 1

    def _pixels(self, image: bytes) -> Tensor:
        return pixels_of(self.processor, image).to(self.model.dtype)

    def _question(self, question: str, protocol: ScoringProtocol) -> dict[str, Tensor]:
        text = pre_question(question, 50) if protocol == "paper" else question
        limits = {"truncation": True, "max_length": 35} if protocol == "paper" else {}
        ids = dict(self.processor.tokenizer(text, return_tensors="pt", return_token_type_ids=False, **limits))
        if protocol == "paper":
            ids["input_ids"][:, 0] = self.model.config.text_config.vocab_size - 1
        return ids


def pixels_of(processor: Any, image: bytes) -> Tensor:
    """(1, 3, S, S) as the PIL processor makes them."""
    opened = Image.open(BytesIO(image)).convert("RGB")
    pixels: Tensor = processor.image_processor(opened, return_tensors="pt")["pixel_values"]
    return pixels


def _generated(row: list[int], prompt: int, model: Any) -> list[int]:
    """What stands behind the prompt, up to the end; padding follows where another beam is longer."""
    end = model.config.text_config.sep_token_id
    ids = row[prompt:]
    return ids[: ids.index(end) + 1] if end in ids else ids


def pre_question(question: str, max_words: int) -> str:
    """What salesforce/BLIP:data/utils.py does to a question."""
    question = re.sub(r"([.!\"()*#:;~])", "", question.lower()).rstrip(" ")
    return " ".join(question.split(" ")[:max_words])


def pre_caption(caption: str, max_words: int) -> str:
    """What salesforce/BLIP:data/utils.py does to a caption."""
    caption = re.sub(r"([.!\"()*#:;~])", " ", caption.lower())
    caption = re.sub(r"\s{2,}", " ", caption)
    words = caption.rstrip("\n").strip(" ").split(" ")
    return " ".join(words[:max_words])
