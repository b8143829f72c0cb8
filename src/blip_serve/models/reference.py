"""The reference: transformers' classes with the PIL processor, in float32 on the CPU, one pair or text at a time.

It shares no code with the models that are served: it reads the files, the pixels and the words by itself.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    BertTokenizer,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipImageProcessorPil,
)
from transformers.utils import logging

from blip_serve.domain import ScoringProtocol

logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers would draw one for each load
logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # and tell each time that it takes the PIL backend
PAPER_TOKENS = 35
"""salesforce/BLIP:train_retrieval.py and models/blip_vqa.py."""


class Words:
    """A checkpoint's pixels and words. The processor of transformers 5 would resize by torchvision where it is there,
    and its pixels differ."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = BertTokenizer.from_pretrained(folder, local_files_only=True)
        self._images: Any = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def pixels(self, image: bytes) -> Tensor:
        """(1, 3, S, S)."""
        opened = Image.open(BytesIO(image)).convert("RGB")
        pixels: Tensor = self._images(opened, return_tensors="pt")["pixel_values"]
        return pixels

    def text(self, text: str, **options: Any) -> dict[str, Tensor]:
        """Ids and mask, (1, T) each."""
        return dict(self.tokenizer(text, return_tensors="pt", return_token_type_ids=False, **options))

    def read(self, ids: list[int]) -> str:
        """The text of ids, the first left out."""
        return str(self.tokenizer.decode(ids[1:], skip_special_tokens=True))


class Remembering(torch.nn.Module):
    """A vision tower that keeps its last answer: the model runs it for each text and head, most often on one image."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower
        self._last: tuple[Tensor, Any] | None = None

    def forward(self, pixel_values: Tensor, **options: Any) -> Any:
        """The tower's output; the options are the model's, the same each time."""
        if self._last is None or not torch.equal(self._last[0], pixel_values):
            self._last = pixel_values, self.tower(pixel_values, **options)
        return self._last[1]


class MatchReference:
    """`BlipForImageTextRetrieval`, asked as its model card asks it, or as the paper's evaluation does."""

    def __init__(self, folder: Path) -> None:
        model: Any = BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        model.vision_model = Remembering(model.vision_model)
        self.model = model
        self.words = Words(folder)

    @torch.inference_mode()
    def score(self, image: bytes, caption: str, protocol: ScoringProtocol = "hf") -> tuple[list[float], float]:
        """ITM logits and the cosine. For `paper` the first id of the matching text becomes `[ENC]`."""
        pixels = self.words.pixels(image)
        text = self.caption(caption, protocol)
        matching = dict(text)
        if protocol == "paper":
            matching["input_ids"] = _with_encoder(text["input_ids"], self.model)
        logits = self.model(pixel_values=pixels, **matching).itm_score[0]
        cosine = self.model(pixel_values=pixels, **text, use_itm_head=False).itm_score[0, 0]
        return logits.tolist(), float(cosine)

    def caption(self, caption: str, protocol: ScoringProtocol) -> dict[str, Tensor]:
        """A caption's ids and mask."""
        if protocol == "hf":
            return self.words.text(caption)
        return self.words.text(pre_caption(caption, 30), padding="max_length", truncation=True, max_length=PAPER_TOKENS)


class CaptionReference:
    """`BlipForConditionalGeneration.generate`, one image at a time."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=dtype, local_files_only=True)
        self.words = Words(folder)

    @torch.inference_mode()
    def generate(self, image: bytes, prompt: str = "", **options: Any) -> tuple[list[list[int]], list[str]]:
        """Ids behind the prompt, the end included, and the whole texts; `options` are those of `generate`."""
        text = self.words.text(prompt)
        pixels = self.words.pixels(image).to(self.model.dtype)
        found = self.model.generate(pixel_values=pixels, **text, **options).tolist()
        prompt_ids = len(text["input_ids"][0]) - 1
        return [_generated(row, prompt_ids, self.model) for row in found], list(map(self.words.read, found))


class AnswerReference:
    """`BlipForQuestionAnswering.generate`, one question at a time."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.model: Any = BlipForQuestionAnswering.from_pretrained(folder, dtype=dtype, local_files_only=True)
        self.words = Words(folder)

    @torch.inference_mode()
    def generate(
        self, image: bytes, question: str, protocol: ScoringProtocol = "hf", **options: Any
    ) -> tuple[list[list[int]], list[str]]:
        """Ids, the end included, and the texts."""
        pixels = self.words.pixels(image).to(self.model.dtype)
        found = self.model.generate(pixel_values=pixels, **self.question(question, protocol), **options).tolist()
        return [_generated(row, 1, self.model) for row in found], list(map(self.words.read, found))

    def question(self, question: str, protocol: ScoringProtocol) -> dict[str, Tensor]:
        """A question's ids and mask."""
        if protocol == "hf":
            return self.words.text(question)
        ids = self.words.text(pre_question(question, 50), truncation=True, max_length=PAPER_TOKENS)
        return ids | {"input_ids": _with_encoder(ids["input_ids"], self.model)}


def _with_encoder(ids: Tensor, model: Any) -> Tensor:
    """The ids with `[ENC]`, the last one of the vocabulary, in the first place."""
    changed = ids.clone()
    changed[:, 0] = model.config.text_config.vocab_size - 1
    return changed


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
