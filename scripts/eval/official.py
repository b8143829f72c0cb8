"""Retrieval as salesforce/BLIP:train_retrieval.py does it, by transformers, in float32. Knows no code of blip-serve.

The pictures' features are kept; a query's candidates are scored together, one query at a time, in both directions.
Texts are padded to 35 by the protocol `paper`, as there; by `hf` to the longest that are scored together. Ranks have
equal scores in the order of their indices.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipForImageTextRetrieval, BlipProcessor

from eval.clock import Clock

Protocol = Literal["hf", "paper"]
LENGTH, WORDS = 35, 30
TEXTS_AT_ONCE = 256
UNSCORED = -100.0


@dataclass(frozen=True)
class Query:
    """A query's candidates (k,), the cosine of every document (D,), and its score, `UNSCORED` without one."""

    candidates: Tensor
    cosines: Tensor
    scores: Tensor

    def rank(self, true: Sequence[int]) -> int:
        """Of the best of its true documents, from 0."""
        order = torch.sort(self.scores, descending=True, stable=True).indices.tolist()
        return min(order.index(each) for each in true)


class Official:
    """A checkpoint, the features of pictures and the ids of texts. `taken`: to make these.

    `vision` (P, N, D), `pictures` (P, E), `texts` (T, E); `ids` and `mask` (T, L).
    """

    @torch.inference_mode()
    def __init__(self, folder: Path, pictures: Sequence[Path], texts: Sequence[str], protocol: Protocol) -> None:
        self._model: Any = BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32)
        self._processor: Any = BlipProcessor.from_pretrained(folder)
        clock = Clock()
        self._read(texts, protocol)
        vision = [self._vision(picture) for picture in pictures]
        self.vision = torch.cat(vision)
        self.pictures = F.normalize(self._model.vision_proj(self.vision[:, 0]), dim=-1)
        self.taken = clock.taken()

    def texts_of_pictures(self, k: int, every: int = 1) -> Iterator[Query]:
        """Of every so-manieth picture its texts in order."""
        return self._queries(self.pictures @ self.texts.T, k, every, self._picture_with)

    def pictures_of_texts(self, k: int, every: int = 1) -> Iterator[Query]:
        """Of every so-manieth text its pictures in order."""
        return self._queries(self.texts @ self.pictures.T, k, every, self._text_with)

    @torch.inference_mode()
    def _queries(self, cosines: Tensor, k: int, every: int, logits: Callable[[int, Tensor], Tensor]) -> Iterator[Query]:
        for query in range(0, len(cosines), every):
            order = torch.sort(cosines[query], descending=True, stable=True).indices[:k]
            scores = torch.full_like(cosines[query], UNSCORED)
            scores[order] = logits(query, order) + cosines[query][order]
            yield Query(order, cosines[query], scores)

    def _picture_with(self, picture: int, texts: Tensor) -> Tensor:
        return self._logits(texts, self.vision[picture].expand(len(texts), -1, -1).contiguous())

    def _text_with(self, text: int, pictures: Tensor) -> Tensor:
        return self._logits(torch.full_like(pictures, text), self.vision[pictures])

    def _logits(self, texts: Tensor, vision: Tensor) -> Tensor:
        """(k,) match logits of pairs."""
        mask = self.mask[texts]
        length = LENGTH if self._padded else int(mask.sum(dim=1).max())
        states = self._model.text_encoder(
            self._matched[texts, :length],
            attention_mask=mask[:, :length],
            encoder_hidden_states=vision,
            encoder_attention_mask=torch.ones(vision.shape[:-1], dtype=torch.long),
        ).last_hidden_state
        found: Tensor = self._model.itm_head(states[:, 0])[:, 1]
        return found

    def _vision(self, picture: Path) -> Tensor:
        with Image.open(picture) as opened:
            pixels = self._processor.image_processor(opened.convert("RGB"), return_tensors="pt")["pixel_values"]
        found: Tensor = self._model.vision_model(pixels).last_hidden_state
        return found

    def _read(self, texts: Sequence[str], protocol: Protocol) -> None:
        self._padded = protocol == "paper"
        options = (
            {"padding": "max_length", "truncation": True, "max_length": LENGTH} if self._padded else {"padding": True}
        )
        given = [cleaned(text) for text in texts] if self._padded else list(texts)
        read = self._processor.tokenizer(given, return_tensors="pt", **options)
        self.ids, self.mask = read["input_ids"], read["attention_mask"]
        vectors = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = slice(start, start + TEXTS_AT_ONCE)
            states = self._model.text_encoder(self.ids[some], attention_mask=self.mask[some]).last_hidden_state
            vectors.append(F.normalize(self._model.text_proj(states[:, 0]), dim=-1))
        self.texts = torch.cat(vectors)
        self._matched = self.ids.clone()
        if self._padded:
            self._matched[:, 0] = self._model.config.text_config.vocab_size - 1  # [ENC]


def cleaned(caption: str) -> str:
    """As salesforce/BLIP:data/utils.py, `pre_caption`, cleans a caption."""
    caption = re.sub(r"\s{2,}", " ", re.sub(r"[.!\"()*#:;~]", " ", caption.lower()))
    return " ".join(caption.rstrip("\n").strip(" ").split(" ")[:WORDS])
