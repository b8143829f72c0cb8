"""How each architecture reads texts to explain them: the part of its network in plain float32, and what it sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from blip_serve.models.attended import read_batches
from blip_serve.models.config import Config, TextConfig
from blip_serve.models.device import Device
from blip_serve.models.explain_works import How
from blip_serve.models.layers import Linear
from blip_serve.models.text import TextTower
from blip_serve.models.text_batches import BatchedRows, Row, batch_rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read:
    """Some captions as a network read them.

    `maps`: for each caption (T, N), what its positions see of the image's tokens. `logits` (B, 2): of a match, if the
    network has a head for it.
    """

    maps: Sequence[Tensor]
    logits: Tensor | None = None


class About(NamedTuple):
    """A caption's ids, which of the step's images it is about, and the ids of the question that it answers, if any."""

    ids: tuple[int, ...]
    image: int
    question: tuple[int, ...]


class Reader(nn.Module):
    """A network that can say what texts attend to."""

    def read(self, about: Sequence[About], images: Tensor, how: How, device: Device) -> Read:
        """Reads captions about `images` (I, N, D)."""
        raise NotImplementedError


class MatchReader(Reader):
    """The text tower and the match head of a retrieval checkpoint."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.text_encoder = TextTower(config.text)
        self.itm_head = Linear(config.text.hidden_size, 2)

    def read(self, about: Sequence[About], images: Tensor, how: How, device: Device) -> Read:
        """See `Reader`."""
        rows = _batched([Row(each.ids, each.image) for each in about], self.text_encoder, device)
        gradient = how.method == "gradcam"
        maps, logits = [], []
        for read in read_batches(self.text_encoder, rows, images, how.layers, gradient=gradient):
            found = self.itm_head(read.states[:, 0])
            maps += list(torch.stack(read.maps(found[:, 1] if gradient else None)).sum(dim=0))
            logits.append(found.detach())
        return Read(_in_turn(maps, rows.order), torch.stack(_in_turn(torch.cat(logits).unbind(), rows.order)))


class Tower(nn.Module):
    """The decoder's text tower, without its head."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.bert = TextTower(config)


class CaptionReader(Reader):
    """The decoder of a captioning checkpoint. The map of a token is what the position that predicts it attends to."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.text_decoder = Tower(config.text)

    def read(self, about: Sequence[About], images: Tensor, how: How, device: Device) -> Read:
        """See `Reader`."""
        tower = self.text_decoder.bert
        rows = _batched([Row(each.ids, each.image) for each in about], tower, device)
        batches = read_batches(tower, rows, images, how.layers, causal=True)
        maps = [row for read in batches for row in torch.stack(read.maps()).sum(dim=0)]
        return Read(_in_turn(maps, rows.order))


class AnswerReader(Reader):
    """Both towers of a question-answering checkpoint.

    Its decoder sees the question's tokens only, so the map of an answer's token is the mean of those tokens' maps,
    weighted by what the position that predicts it attends to in the same layer.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.text_encoder = TextTower(config.text)
        self.text_decoder = Tower(config.text)

    def read(self, about: Sequence[About], images: Tensor, how: How, device: Device) -> Read:
        """See `Reader`. A question about an image is read once for all its answers."""
        maps: dict[int, Tensor] = {}
        for image, question in dict.fromkeys((each.image, each.question) for each in about):
            numbers = [i for i, each in enumerate(about) if (each.image, each.question) == (image, question)]
            answers = [about[i].ids for i in numbers]
            maps |= zip(numbers, self._maps(question, answers, images[image], how, device), strict=True)
        return Read([maps[i] for i in range(len(about))])

    def _maps(
        self, question: tuple[int, ...], answers: Sequence[tuple[int, ...]], image: Tensor, how: How, device: Device
    ) -> list[Tensor]:
        """The map (T, N) of each answer to the question."""
        length = len(question)
        [asked] = read_batches(
            self.text_encoder, _batched([Row(question)], self.text_encoder, device), image[None], how.layers
        )
        rows = _batched([Row(ids) for ids in answers], self.text_decoder.bert, device)
        said = read_batches(self.text_decoder.bert, rows, asked.states[:, :length], how.layers, causal=True)
        of_question = [each[0, :length] for each in asked.maps()]
        found = [
            torch.stack([layer @ seen for layer, seen in zip(layers, of_question, strict=True)]).sum(dim=0)
            for layers in (row for batch in said for row in zip(*batch.maps(), strict=True))
        ]
        return _in_turn(found, rows.order)


def _batched(rows: Sequence[Row], tower: TextTower, device: Device) -> BatchedRows:
    return batch_rows(rows, tower.positions, device.kernels.folded, device.upload)


def _in_turn(found: Sequence[T], order: Sequence[int]) -> list[T]:
    """What was found for rows in `order`, in the rows' own order."""
    return [each for _, each in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]
