"""`Generator`: generates texts, one token per step.

Its phases are `prefill`, which reads the whole prompt, and `decode`, which reads the last token.

Sequences join and leave between steps (continuous batching). A source is projected once for all sequences that share
it. From `Kernels.many_images` images in a step on, images are attended to without being projected.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from blip_serve.domain import Done, Failed, Outcome, Progress
from blip_serve.errors import OutOfMemory, not_finite
from blip_serve.models.attention import Seen
from blip_serve.models.config import TextConfig
from blip_serve.models.decoder import NewTokens, Source, TextDecoder
from blip_serve.models.device import Device
from blip_serve.models.image_cache import KeysAndValues
from blip_serve.models.kernels import Kernels
from blip_serve.models.kv_cache import KVCache
from blip_serve.models.selection import Selection, select
from blip_serve.models.sequences import BeamSearch, Candidate, Chosen, Sample
from blip_serve.models.text_batches import buckets, padded
from blip_serve.models.text_works import DECODE, PREFILL, GenerateWork

LONG = 32
"""A source of fewer tokens, such as a question, is always projected, since that costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Generating:
    """A `prefill` or `decode` step under way.

    `selection`: the next tokens of the works in `order`. `projected`: the keys and values of their sources.
    """

    works: Sequence[GenerateWork]
    order: Sequence[GenerateWork]
    selection: Selection
    projected: dict[Source, list[KeysAndValues]]


@dataclass(frozen=True, slots=True)
class Feed:
    """New tokens of one sequence: its slot, the number of tokens in the slot so far, and what it attends to."""

    slot: int
    start: int
    ids: tuple[int, ...]
    source: Source


class Generator:
    """A decoder, and the KV cache of the sequences being generated."""

    def __init__(self, decoder: TextDecoder, config: TextConfig, device: Device, max_sequences: int) -> None:
        self._decoder = decoder
        self._device = device
        self._layers = config.num_hidden_layers
        self._end = config.sep_token_id
        self._cache = KVCache(config, device, max_sequences)

    def admit(self, work: GenerateWork) -> bool:
        """Takes the slots that the work needs, if they are free. Its first step wipes them."""
        slots = self._cache.take(work.sequence.width)
        work.slots = slots or ()
        return slots is not None

    def release(self, work: GenerateWork) -> None:
        """Frees its slots."""
        self._cache.give_back(work.slots)

    def launch(self, works: Sequence[GenerateWork]) -> Generating:
        """Starts computing the next token of every work."""
        sources = dict.fromkeys(work.source for work in works)
        order = [work for source in sources for work in works if work.source is source]
        feeds = [feed for work in order for feed in _feeds(work)]
        folded = _folded(feeds, self._device.kernels)
        projected = {
            source: source.projected or self._decoder.project(encoded(source))
            for source in sources
            if source not in folded
        }
        self._cache.make_room(  # also for slots that beams will only use in `collect`, which must not run out of memory
            max(max(work.slots) for work in works) + 1, max(feed.start + len(feed.ids) for feed in feeds)
        )
        self._cache.wipe([slot for work in works if work.phase == PREFILL for slot in work.slots])
        parts, read = [], []
        for bucket in buckets([len(feed.ids) for feed in feeds]):
            by_source = _by_source(bucket, feeds, projected)
            read += by_source
            parts.append(self._read([feeds[i] for i in by_source], projected))
        states = torch.cat(parts)
        if read != sorted(read):
            states = states[self._device.upload(torch.tensor(read).argsort())]
        sequences = [work.sequence for work in order]
        selection = select(self._decoder.logits(states), sequences, self._end, self._device)
        return Generating(works, order, selection, projected)

    def collect(self, step: Generating) -> list[Outcome]:
        """Waits for a step, and lets each work go on or end."""
        for source, projected in step.projected.items():
            source.projected = projected
        found = dict(zip(step.order, step.selection.outcomes(), strict=True))
        return [self._advance(work, found[work]) for work in step.works]

    def _read(self, feeds: Sequence[Feed], projected: Mapping[Source, list[KeysAndValues]]) -> Tensor:
        """Feeds in the order of `_by_source` -> (B, D) hidden states of each one's last token."""
        ids, _ = padded([feed.ids for feed in feeds])
        starts = torch.tensor([feed.start for feed in feeds])
        positions = starts[:, None] + torch.arange(ids.shape[1])
        length = max(feed.start + len(feed.ids) for feed in feeds)
        start = feeds[0].start if len({(feed.start, len(feed.ids)) for feed in feeds}) == 1 else None
        everywhere = ids.shape[1] == 1 and start is not None
        mask = None if everywhere else (torch.arange(length) <= positions[:, :, None])[:, None]
        new = NewTokens(
            self._device.upload(ids),
            (here := self._device.upload(positions)),
            None if mask is None else self._device.upload(mask),
            _seen(feeds, projected, self._layers),
        )
        states: Tensor = self._decoder(new, self._cache.step([feed.slot for feed in feeds], here, start, length))
        if ids.shape[1] == 1:
            return states[:, 0]
        last = self._device.upload(torch.tensor([len(feed.ids) - 1 for feed in feeds]))
        return states[torch.arange(len(feeds), device=states.device), last]

    def _advance(self, work: GenerateWork, found: Chosen | list[Candidate] | None) -> Outcome:
        sequence = work.sequence
        if isinstance(found, Chosen) and isinstance(sequence, Sample):
            sequence.advance(found)
        elif isinstance(found, list) and isinstance(sequence, BeamSearch):
            parents = sequence.advance(found)
            if not sequence.ended and (failed := self._reorder(work, parents)):
                return failed
        else:
            return Failed(not_finite())
        pieces = sequence.pieces()
        return Done(sequence.results(), pieces) if sequence.ended else Progress(DECODE, sequence.width, pieces)

    def _reorder(self, work: GenerateWork, parents: Sequence[int]) -> Failed | None:
        """Gives each beam the cache of the one it goes on from.

        If there is no memory for that, only this work fails. The step cannot be tried again: other works of it have
        gone on.
        """
        try:
            with self._device.computing():
                self._cache.reorder(work.slots, parents, len(work.sequence.histories[0]) - 1)
        except OutOfMemory as error:
            return Failed(error)
        return None


def encoded(source: Source) -> Tensor:
    """A source's tokens. Raises `RuntimeError` if it is not encoded: works attend to it only after that."""
    if source.tokens is None:
        raise RuntimeError("a text was to be generated from a source that is not encoded")
    return source.tokens


def _folded(feeds: Sequence[Feed], kernels: Kernels) -> frozenset[Source]:
    """The sources that are not projected ("folded"), if there are many: long ones that few tokens attend to."""
    tokens = Counter[Source]()
    for feed in feeds:
        tokens[feed.source] += len(feed.ids)
    images = [source for source, count in tokens.items() if len(encoded(source)) >= LONG and count <= kernels.folded]
    return frozenset(images) if len(images) >= kernels.many_images else frozenset()


def _by_source(
    bucket: Sequence[int], feeds: Sequence[Feed], projected: Mapping[Source, list[KeysAndValues]]
) -> list[int]:
    """Indices of feeds, sorted: feeds of one source are adjacent.

    So are sources that one call can attend to together.
    """
    rows = Counter(feeds[i].source for i in bucket)
    number = {source: number for number, source in enumerate(rows)}

    def key(i: int) -> tuple[bool, int, int, int, int]:
        source = feeds[i].source
        return source in projected, len(encoded(source)), rows[source], number[source], i

    return sorted(bucket, key=key)


def _seen(feeds: Sequence[Feed], projected: Mapping[Source, list[KeysAndValues]], layers: int) -> list[list[Seen]]:
    """What each layer's rows attend to."""
    rows = Counter(feed.source for feed in feeds)
    own = [(projected[source], count) for source, count in rows.items() if source in projected]
    folded = [source for source in rows if source not in projected]
    shared = [
        Seen(torch.stack([encoded(source) for source in run]), None, count)
        for (_, count), run in groupby(folded, key=lambda source: (len(encoded(source)), rows[source]))
    ]
    return [[*shared, *(Seen(*layered[layer], count) for layered, count in own)] for layer in range(layers)]


def _feeds(work: GenerateWork) -> list[Feed]:
    """What is new in each of its sequences: the prompt at first, then the last token."""
    histories = work.sequence.histories
    start = 0 if work.phase == PREFILL else len(histories[0]) - 1
    return [
        Feed(slot, start, tuple(history[start:]), work.source)
        for slot, history in zip(work.slots, histories, strict=False)  # before the beams part, there is one history
    ]
