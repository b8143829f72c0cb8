"""The reference for maps: Grad-CAM and attention of transformers' eager modules, one text at a time, in float32.

As LAVIS computes them (lavis/models/blip_models/blip_image_text_matching.py:compute_gradcam, after ALBEF): a layer's
cross-attention probabilities times the positive part of their gradient, of the match logit and not of the probability,
mean over heads, without the image's class token. Other than there, maps are joined to words, and any grid will do.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipProcessor,
)

from blip_serve.domain import ScoringProtocol
from tests.support.reference import pixels_of, pre_question

PAPER_WORDS, QUESTION_WORDS, PAPER_TOKENS = 30, 50, 35
Method = Literal["gradcam", "attention"]
Layer = int | Literal["all"]


@dataclass(frozen=True)
class Span:
    """A word of a text as given, `text[start:end]`. `pieces`: the positions of its tokens; `[CLS]` is at 0."""

    start: int
    end: int
    pieces: tuple[int, ...]


@dataclass(frozen=True)
class WordHeat:
    """A word's map (G, G), not scaled."""

    word: str
    start: int
    end: int
    map: Tensor


@dataclass(frozen=True)
class Heat:
    """The words of a text with their maps. `logits`: (no match, match), of a retrieval model only."""

    words: tuple[WordHeat, ...]
    logits: tuple[float, float] | None = None

    @property
    def whole(self) -> Tensor:
        """The text's map (G, G): the mean of its words' maps."""
        return torch.stack([word.map for word in self.words]).mean(dim=0)


class RetrievalMaps:
    """The maps of `BlipForImageTextRetrieval`."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = _eager(BlipForImageTextRetrieval, folder)
        self.processor: Any = BlipProcessor.from_pretrained(folder)
        self.layers = len(_crossed(self.model.text_encoder))

    def tokens(self, image: bytes) -> Tensor:
        """(N, D) token embeddings."""
        return _tokens(self, image)

    def heat(
        self,
        image: bytes | Tensor,
        caption: str,
        method: Method = "gradcam",
        layer: Layer = 0,
        protocol: ScoringProtocol = "hf",
    ) -> Heat:
        """The maps of a caption's words. `image`: a file, or its token embeddings (N, D)."""
        return self.heats(image, caption, method, [layer], protocol)[0]

    def heats(
        self, image: bytes | Tensor, caption: str, method: Method, layers: Sequence[Layer], protocol: ScoringProtocol
    ) -> list[Heat]:
        """The same for several layers, by one pass."""
        ids, spans = _read(self.processor.tokenizer, caption, protocol)
        if protocol == "paper":
            ids[0] = self.model.config.text_config.vocab_size - 1  # [ENC]
        tokens = image if isinstance(image, Tensor) else self.tokens(image)
        with _probabilities(self.model.text_encoder) as seen:
            states = self.model.text_encoder(
                torch.tensor([ids]), torch.ones(1, len(ids)), encoder_hidden_states=tokens[None].clone()
            ).last_hidden_state
            logits = self.model.itm_head(states[:, 0])
        gradients: Sequence[Tensor | None] = [None] * self.layers
        if method == "gradcam":
            gradients = torch.autograd.grad(logits[:, 1].sum(), seen, allow_unused=True)
        # in the last layer the logit depends on position 0 only: elsewhere the gradient is 0
        weighed = [
            (probabilities * gradient.clamp(min=0) if gradient is not None else probabilities).detach()[0].mean(dim=0)
            for probabilities, gradient in zip(seen, gradients, strict=True)
        ]
        no, yes = logits[0].tolist()
        return [Heat(_words(caption, spans, _at(weighed, layer), 0), (no, yes)) for layer in layers]


class CaptionMaps:
    """The maps of `BlipForConditionalGeneration`: a token's is that of the position that predicts it, the one before.

    That position's query chose the token; the token's own position already asks for the next.
    """

    def __init__(self, folder: Path) -> None:
        self.model: Any = _eager(BlipForConditionalGeneration, folder)
        self.processor: Any = BlipProcessor.from_pretrained(folder)
        self.layers = len(_crossed(self.model.text_decoder.bert))

    def tokens(self, image: bytes) -> Tensor:
        """(N, D) token embeddings."""
        return _tokens(self, image)

    @torch.no_grad()
    def heat(self, image: bytes | Tensor, text: str, layer: Layer = 0) -> Heat:
        """The maps of a written text's words."""
        tokens = image if isinstance(image, Tensor) else self.tokens(image)
        ids, spans = _read(self.processor.tokenizer, text, "hf")
        found = _written(self.model, ids, tokens)
        return Heat(_words(text, spans, _at(found, layer), -1))


class AnswerMaps:
    """The maps of `BlipForQuestionAnswering`, whose decoder sees the question's states and not the image.

    A token's is the attention of the position that predicts it over all tokens of the question, `[CLS]` and `[SEP]`
    with them, times their attention to the image at the same layer of the encoder; each the mean over its heads.
    """

    def __init__(self, folder: Path) -> None:
        self.model: Any = _eager(BlipForQuestionAnswering, folder)
        self.processor: Any = BlipProcessor.from_pretrained(folder)
        self.layers = len(_crossed(self.model.text_decoder.bert))

    def tokens(self, image: bytes) -> Tensor:
        """(N, D) token embeddings."""
        return _tokens(self, image)

    @torch.no_grad()
    def heat(
        self, image: bytes | Tensor, question: str, answer: str, layer: Layer = 0, protocol: ScoringProtocol = "hf"
    ) -> Heat:
        """The maps of an answer's words."""
        tokens = image if isinstance(image, Tensor) else self.tokens(image)
        with _probabilities(self.model.text_encoder) as looked:
            read = self.model.text_encoder(
                torch.tensor([self._question(question, protocol)]), encoder_hidden_states=tokens[None].clone()
            ).last_hidden_state
        ids, spans = _read(self.processor.tokenizer, answer, "hf")
        listened = _written(self.model, ids, read[0])
        found = [heard @ seen[0].mean(dim=0) for heard, seen in zip(listened, looked, strict=True)]
        return Heat(_words(answer, spans, _at(found, layer), -1))

    def _question(self, question: str, protocol: ScoringProtocol) -> list[int]:
        if protocol == "hf":
            return list(self.processor.tokenizer(question)["input_ids"])
        text = pre_question(question, QUESTION_WORDS)
        ids = self.processor.tokenizer(text, truncation=True, max_length=PAPER_TOKENS)["input_ids"]
        return [self.model.config.text_config.vocab_size - 1, *ids[1:]]


def _eager(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def _crossed(tower: Any) -> list[Any]:
    return [layer.crossattention.self for layer in tower.encoder.layer]


@torch.no_grad()
def _tokens(maps: Any, image: bytes) -> Tensor:
    tokens: Tensor = maps.model.vision_model(pixels_of(maps.processor, image)).last_hidden_state[0]
    return tokens


def _written(model: Any, ids: list[int], states: Tensor) -> list[Tensor]:
    """(T, S) of each layer: what each position of `[DEC] w1 ... wn` attends to of `states` (S, D)."""
    given = torch.tensor([[model.config.text_config.bos_token_id, *ids[1:-1]]])
    with _probabilities(model.text_decoder.bert) as seen:
        model.text_decoder(given, attention_mask=torch.ones_like(given), encoder_hidden_states=states[None].clone())
    return [probabilities[0].mean(dim=0) for probabilities in seen]


@contextmanager
def _probabilities(tower: Any) -> Iterator[list[Tensor]]:
    """The cross-attention probabilities (B, H, T, N) of each layer that runs meanwhile, in order."""
    seen: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _, __, out: seen.append(out[1])) for module in _crossed(tower)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _at(found: Sequence[Tensor], layer: Layer) -> Tensor:
    """(T, N) of one layer, or the sum of all."""
    return torch.stack(list(found)).sum(dim=0) if layer == "all" else found[layer]


def _words(text: str, spans: Sequence[Span], found: Tensor, shift: int) -> tuple[WordHeat, ...]:
    """`shift`: from a token's position to the position whose row of `found` (T, N) counts."""
    grid = round((found.shape[1] - 1) ** 0.5)
    rows = [found[[piece + shift for piece in span.pieces], 1:].mean(dim=0).view(grid, grid) for span in spans]
    return tuple(
        WordHeat(text[span.start : span.end], span.start, span.end, row) for span, row in zip(spans, rows, strict=True)
    )


def _read(tokenizer: Any, text: str, protocol: ScoringProtocol) -> tuple[list[int], list[Span]]:
    """Ids `[CLS] ... [SEP]`, and the words as BERT splits them at whitespace and punctuation, which is no word."""
    cleaned, origins = _cleaned(text) if protocol == "paper" else (text, list(range(len(text))))
    limits = {"truncation": True, "max_length": PAPER_TOKENS} if protocol == "paper" else {}
    encoded = tokenizer(cleaned, return_offsets_mapping=True, **limits)
    offsets, spans = encoded["offset_mapping"], []
    for word, group in groupby(enumerate(encoded.word_ids()), key=lambda pair: pair[1]):
        pieces = tuple(position for position, _ in group)
        if word is None:  # [CLS] or [SEP]
            continue
        start, end = offsets[pieces[0]][0], offsets[pieces[-1]][1]
        if not all(map(_is_punctuation, cleaned[start:end])):
            spans.append(Span(origins[start], origins[end - 1] + 1, pieces))
    return list(encoded["input_ids"]), spans


def _cleaned(caption: str) -> tuple[str, list[int]]:
    """What salesforce/BLIP:data/utils.py:pre_caption makes of a caption, and where each of its characters was."""
    text = re.sub(r"([.!\"()*#:;~])", " ", caption.lower())
    origins = [place for place, character in enumerate(caption) for _ in character.lower()]
    kept = [run.start() for run in re.finditer(r"\s{2,}|.", text, re.DOTALL)]
    runs = [" " if end - start > 1 else text[start] for start, end in pairwise([*kept, len(text)])]
    text, origins = "".join(runs), [origins[place] for place in kept]
    end = len(text.rstrip("\n").rstrip(" "))
    start = min(len(text) - len(text.lstrip(" ")), end)
    words = text[start:end].split(" ")[:PAPER_WORDS]
    text = " ".join(words)
    return text, origins[start : start + len(text)]


def _is_punctuation(character: str) -> bool:
    """As BERT counts it: ASCII's signs, and Unicode's categories P."""
    signs = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return signs or unicodedata.category(character).startswith("P")
