"""`Generator`: texts from what they are generated from, a token a step, on the device thread.

The phases `prefill` (the prompt in one go) and `decode` (one token for each row). Sequences join and leave between
steps; what they attend to is projected once, whatever number of them shares it, or not at all where it is many images.
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
from blip_serve.models.decoder import Source, TextDecoder, Words
from blip_serve.models.device import Device
from blip_serve.models.image_cache import KeysAndValues
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.selection import Generated, Selection, select
from blip_serve.models.sequences import BeamSearch, Candidate, Chosen, Sample
from blip_serve.models.text_batches import buckets, padded
from blip_serve.models.word_cache import WordCache
from blip_serve.settings import caption_cost

PREFILL, DECODE = "prefill", "decode"
MANY = 4
"""From this many images on, a step attends to them as they are.

A layer reads its keys and values of each from memory, or the same tokens as every other layer: on 2 cores, a step's
cross-attention of 1, 4 and 16 images (ViT-B, 384 px, bfloat16) takes 1.7, 6.0 and 35 ms, or 3.2, 6.2 and 16 ms, and
the projection 6 ms an image.
"""
LONG = 32
"""Fewer tokens (a question's) are always projected: that costs next to nothing."""


@dataclass(eq=False, slots=True, kw_only=True)
class GenerateWork(ImageWork):
    """One text, or the beams of one search; `rows` are its places in the word cache."""

    source: Source
    sequence: Generated
    rows: tuple[int, ...] = ()

    @property
    def slot_count(self) -> int:
        """One for each sequence that it generates at once."""
        return self.sequence.width


@dataclass(frozen=True, slots=True)
class Generating:
    """A `prefill` or `decode` step under way: what the works of `order` go on with, and what was projected for them."""

    works: Sequence[GenerateWork]
    order: Sequence[GenerateWork]
    selection: Selection
    projected: dict[Source, list[KeysAndValues]]


@dataclass(frozen=True, slots=True)
class Feed:
    """New words of one row: its place in the word cache, how many words are there, and what it attends to."""

    row: int
    start: int
    ids: tuple[int, ...]
    source: Source


class Generator:
    """A decoder and the words of the sequences under way."""

    def __init__(self, decoder: TextDecoder, config: TextConfig, device: Device, max_sequences: int) -> None:
        self._decoder = decoder
        self._device = device
        self._layers = config.num_hidden_layers
        self._end = config.sep_token_id
        self._words = WordCache(config, device, max_sequences)

    def admit(self, work: GenerateWork) -> bool:
        """Takes the rows the work needs, if they are free: its first step wipes them."""
        rows = self._words.take(work.sequence.width)
        work.rows = rows or ()
        return rows is not None

    def release(self, work: GenerateWork) -> None:
        """Frees them."""
        self._words.give_back(work.rows)

    def launch(self, works: Sequence[GenerateWork]) -> Generating:
        """Starts the next token of every work."""
        sources = dict.fromkeys(work.source for work in works)
        order = [work for source in sources for work in works if work.source is source]
        feeds = [feed for work in order for feed in _feeds(work)]
        folded = _folded(feeds, self._device.folded)
        projected = {
            source: source.projected or self._decoder.project(encoded(source))
            for source in sources
            if source not in folded
        }
        self._words.make_room(  # for rows too that beams are about to take: `collect` must not run out of memory
            max(max(work.rows) for work in works) + 1, max(feed.start + len(feed.ids) for feed in feeds)
        )
        self._words.wipe([row for work in works if work.phase == PREFILL for row in work.rows])
        parts, places = [], []
        for bucket in buckets([len(feed.ids) for feed in feeds]):
            together = _together(bucket, feeds, projected)
            places += together
            parts.append(self._read([feeds[place] for place in together], projected))
        states = torch.cat(parts)
        if places != sorted(places):
            states = states[self._device.upload(torch.tensor(places).argsort())]
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
        """Rows in the order of `_together` -> (B, D) hidden states of each row's last word."""
        ids, _ = padded([feed.ids for feed in feeds])
        starts = torch.tensor([feed.start for feed in feeds])
        positions = starts[:, None] + torch.arange(ids.shape[1])
        length = max(feed.start + len(feed.ids) for feed in feeds)
        start = feeds[0].start if len({(feed.start, len(feed.ids)) for feed in feeds}) == 1 else None
        everywhere = ids.shape[1] == 1 and start is not None
        mask = None if everywhere else (torch.arange(length) <= positions[:, :, None])[:, None]
        words = Words(
            self._device.upload(ids),
            (here := self._device.upload(positions)),
            None if mask is None else self._device.upload(mask),
            _seen(feeds, projected, self._layers),
        )
        states: Tensor = self._decoder(words, self._words.step([feed.row for feed in feeds], here, start, length))
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
        """Fails the work alone where memory lacks: its neighbours have gone on, and the step cannot be tried again."""
        try:
            with self._device.computing():
                self._words.reorder(work.rows, parents, len(work.sequence.histories[0]) - 1)
        except OutOfMemory as error:
            return Failed(error)
        return None


def prefill(sequence: Generated, projection: int) -> Progress:
    """How a work begins to generate; `projection`: the cost of projecting its source."""
    return Progress(PREFILL, projection + caption_cost(len(sequence.prompt)))


def encoded(source: Source) -> Tensor:
    """What a work beyond its first phase has for certain."""
    if source.tokens is None:
        raise RuntimeError("a text was to be generated from what is not encoded")
    return source.tokens


def _folded(feeds: Sequence[Feed], most: int) -> frozenset[Source]:
    """The sources to be attended to as they are: by `most` words, as `Device.folded` has it."""
    words = Counter[Source]()
    for feed in feeds:
        words[feed.source] += len(feed.ids)
    images = [source for source, count in words.items() if len(encoded(source)) >= LONG and count <= most]
    return frozenset(images) if len(images) >= MANY else frozenset()


def _together(
    places: Sequence[int], feeds: Sequence[Feed], projected: Mapping[Source, list[KeysAndValues]]
) -> list[int]:
    """The places with the rows of a source together, and those sources together that can be attended to at once."""
    rows = Counter(feeds[place].source for place in places)
    number = {source: number for number, source in enumerate(rows)}

    def key(place: int) -> tuple[bool, int, int, int, int]:
        source = feeds[place].source
        return source in projected, len(encoded(source)), rows[source], number[source], place

    return sorted(places, key=key)


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
    """What is new in each of its rows: the prompt at first, then the last token."""
    histories = work.sequence.histories
    start = 0 if work.phase == PREFILL else len(histories[0]) - 1
    return [
        Feed(row, start, tuple(history[start:]), work.source)
        for row, history in zip(work.rows, histories, strict=False)  # one row is read before the beams part
    ]
