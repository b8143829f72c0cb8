"""Items to run through a model without an engine, and two groups of them by turns."""

from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from blip_serve.domain import (
    AnyModel,
    Caption,
    GenerateItem,
    GenerationOptions,
    ImageBytes,
    MatchItem,
    Prepared,
    ScoreName,
    ScoringProtocol,
    Work,
)
from blip_serve.models.running import Group, generated_ids, run, run_prepared

__all__ = ["BOTH", "generated_ids", "image_bytes", "item", "run", "run_by_turns", "run_prepared", "writing"]

BOTH: frozenset[ScoreName] = frozenset({"itm", "cosine"})


def image_bytes(data: bytes, param: str = "image") -> ImageBytes:
    """Bytes with their digest."""
    return ImageBytes(data, sha256(data).hexdigest(), param)


def item(
    data: bytes, captions: Sequence[str], protocol: ScoringProtocol = "hf", scores: frozenset[ScoreName] = BOTH
) -> MatchItem:
    """An item of one image and some captions."""
    texts = tuple(Caption(text, f"captions[{i}]") for i, text in enumerate(captions))
    return MatchItem(image_bytes(data), texts, protocol, scores)


def writing(data: bytes, text: str = "", n: int = 1, protocol: ScoringProtocol = "hf", **options: Any) -> GenerateItem:
    """An item to be written about; `options` as `GenerationOptions` has them, and `stream`."""
    stream = options.pop("stream", False)
    return GenerateItem(image_bytes(data), Caption(text, "text"), n, GenerationOptions(**options), protocol, stream)


def run_by_turns(model: AnyModel, *groups: Sequence[Prepared]) -> list[list[list[Any]]]:
    """The results of groups of prepared items, as from `run_prepared`. The groups' steps alternate.

    A group's step is collected when its turn comes again: all others have launched one meanwhile.
    """
    running = [Group(model, prepared) for prepared in groups]
    flight: deque[tuple[Group, list[Work], Any]] = deque()
    while flight or any(group.waiting for group in running):
        for group in running:
            if flight and flight[0][0] is group:
                _, step, launched = flight.popleft()
                group.take(step, model.collect(launched))
            if group.waiting:
                step = group.next_step()
                flight.append((group, step, model.launch(step)))
    return [group.results() for group in running]
