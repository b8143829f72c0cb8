"""Reads questions together with their image: the phase `read`, before answers are generated or ranked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from blip_serve.domain import Outcome, Progress
from blip_serve.models.device import Device, Pending
from blip_serve.models.generator import encoded
from blip_serve.models.image_cache import ImageState, KeysAndValues
from blip_serve.models.text import TextTower
from blip_serve.models.text_batches import Row, batch_rows

READ = "read"


@dataclass(eq=False, slots=True, weakref_slot=True)
class QuestionState:
    """A question's ids `[CLS] ... [SEP]`. Once it was read, `tokens` (T, D) are what its answers are generated from."""

    ids: tuple[int, ...]
    tokens: Tensor | None = None
    projected: list[KeysAndValues] | None = None


class QuestionWork(Protocol):
    """A work that attends to a question. It goes on with `then` once the question was read."""

    image: ImageState
    source: QuestionState
    then: Progress


@dataclass(frozen=True, slots=True)
class Reading:
    """A `read` step under way: its questions, and the (T, D) tokens of each. `done` arrives when it has ended."""

    works: Sequence[QuestionWork]
    questions: Sequence[QuestionState] = ()
    tokens: Sequence[Tensor] = ()
    done: Pending | None = None


class QuestionReader:
    """A tower that reads questions."""

    def __init__(self, tower: TextTower, device: Device) -> None:
        self._tower = tower
        self._device = device

    def launch(self, works: Sequence[QuestionWork]) -> Reading:
        """Starts reading those of the works' questions that are not read yet."""
        asked = {work.source: work.image for work in works if work.source.tokens is None}
        if not asked:
            return Reading(works)
        images = {image: number for number, image in enumerate(dict.fromkeys(asked.values()))}
        rows = [Row(question.ids, images[image]) for question, image in asked.items()]
        batched = batch_rows(rows, self._tower.positions, self._device.kernels.folded, self._device.upload)
        tokens = torch.stack([encoded(image) for image in images])
        read = [row for states in self._tower.states(batched, tokens) for row in states]
        questions = [list(asked)[i] for i in batched.order]
        found = [states[: len(question.ids)] for states, question in zip(read, questions, strict=True)]
        return Reading(works, questions, found, self._device.to_host(found[-1][:1, :1]))

    def collect(self, step: Reading) -> list[Outcome]:
        """Waits for a step, and lets each work go on."""
        if step.done is not None:
            step.done.wait()
        for question, tokens in zip(step.questions, step.tokens, strict=True):
            question.tokens = tokens.clone()  # a slice would keep the whole batch alive
        return [work.then for work in step.works]
