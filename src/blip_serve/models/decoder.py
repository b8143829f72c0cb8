"""BLIP's text decoder: the text tower reading from left to right, with a head that predicts the next token.

Parameters are named as in the hub's checkpoints below `text_decoder.`. The head shares the word embeddings' weights.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from blip_serve.models.attention import Past, Seen
from blip_serve.models.config import TextConfig
from blip_serve.models.image_cache import KeysAndValues
from blip_serve.models.layers import Linear
from blip_serve.models.text import TextTower

CHUNK = 256
"""Positions whose logits are in memory at once while likelihoods are computed (31 MB of float32 for BLIP)."""


class Source(Protocol):
    """What a text is generated from: an image, or a question that was read together with its image."""

    tokens: Tensor | None
    """(N, D) on the device, once encoded."""
    projected: list[KeysAndValues] | None
    """Each layer's cross-attention keys and values. Kept while texts are generated from it."""


@dataclass(frozen=True, slots=True)
class NewTokens:
    """B rows of T new tokens.

    `ids` (B, T). `positions` (B, T) and `mask` (B, 1, T, S); their B is 1 if they are the same for all rows. The mask
    is true where a position may attend; `None` means everywhere. `seen`: for each layer, what the rows attend to.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor | None
    seen: list[list[Seen]]


class HeadTransform(nn.Module):
    """The dense layer and norm in front of the vocabulary."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        out: Tensor = self.LayerNorm(self.dense(x))
        return out


class Predictions(nn.Module):
    """The head, without the weights that it shares with the word embeddings."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(config.vocab_size))
        self.transform = HeadTransform(config)

    def join(self, words: Tensor) -> None:
        """Makes its last layer from the (V, D) word embeddings."""
        self.decoder = Linear.of(words, self.bias)
        del self.bias


class Head(nn.Module):
    """The head as BERT nests it."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.predictions = Predictions(config)


class TextDecoder(nn.Module):
    """New tokens, and the KV cache of those before them, to the logits of the next."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.bert = TextTower(config)
        self.cls = Head(config)

    def join(self) -> None:
        """Gives the head its last layer."""
        self.cls.predictions.join(self.bert.embeddings.word_embeddings.weight)

    def project(self, source: Tensor) -> list[KeysAndValues]:
        """(N, D) tokens of an image or a question -> each layer's keys and values."""
        halves = (each.chunk(2, dim=1) for each in self.bert.encoder.project(source[None]))
        return [(key, value) for key, value in halves]

    def forward(self, new: NewTokens, past: list[Past]) -> Tensor:
        """(B, T) new tokens -> (B, T, D) hidden states. Writes them to `past`, each layer's part of the KV cache."""
        x: Tensor = self.bert.embeddings(new.ids, new.positions)
        return self.bert.encoder.read_on(x, new.mask, new.seen, past)

    def logits(self, states: Tensor) -> Tensor:
        """(R, D) hidden states -> (R, V) logits, float32."""
        predictions = self.cls.predictions
        out: Tensor = predictions.decoder(predictions.transform(states))
        return out.float()

    def log_likelihoods(self, states: Tensor, targets: Tensor) -> Tensor:
        """(R, D) hidden states and (R,) ids -> (R,) natural log-probabilities of the ids, float32.

        By `log_softmax`: `logsumexp`'s `exp` is MKL's, whose first call in a process is now and then wrong by 3e-5
        (github.com/pytorch/pytorch/issues/188792).
        """
        parts = []
        for start in range(0, len(states), CHUNK):
            found = self.logits(states[start : start + CHUNK]).log_softmax(dim=1)
            parts.append(found.gather(1, targets[start : start + CHUNK, None])[:, 0])
        return torch.cat(parts)
