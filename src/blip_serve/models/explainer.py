"""Where an image shows the words of a text: the phase `explain`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from blip_serve.domain import Done, Explanation, Failed, Outcome, WordMap
from blip_serve.errors import not_finite
from blip_serve.models.beside import Beside
from blip_serve.models.device import Device, Pending
from blip_serve.models.explain_works import Asked, ExplainWork, NumberedCaption
from blip_serve.models.generator import encoded
from blip_serve.models.match_phases import match_scores
from blip_serve.models.readers import About, Reader

DIGITS = 5
"""Decimal places of the numbers of a map. An answer may have 150,000 of them: here they are rounded all at once."""


@dataclass(frozen=True, slots=True)
class Explaining:
    """An `explain` step under way.

    `order`: the works in the order of `maps` (M, patches), which has a row for each place that they ask about, and of
    `logits` (B, 2) of their captions, if the network has a match head.
    """

    works: Sequence[ExplainWork]
    order: Sequence[ExplainWork]
    maps: Pending
    logits: Pending | None


class Explainer:
    """Maps the words of captions to images. `network`: reads them; it must be loaded before the first launch."""

    def __init__(self, network: Beside[Reader], device: Device) -> None:
        self._network = network
        self._device = device

    def launch(self, works: Sequence[ExplainWork]) -> Explaining:
        """Starts mapping the works' words."""
        reader = self._network.loaded()
        order, maps, logits = [], [], []
        with torch.inference_mode(False), torch.enable_grad():  # only what a reader asks for records gradients
            for how in dict.fromkeys(work.how for work in works):
                some = [work for work in works if work.how == how]
                images = {image: number for number, image in enumerate(dict.fromkeys(work.image for work in some))}
                tokens = torch.stack([encoded(image).to(torch.float32, copy=True) for image in images])
                about = [About(each.ids, images[work.image], work.question) for work in some for each in work.captions]
                read = reader.read(about, tokens, how, self._device)
                captions = [caption for work in some for caption in work.captions]
                order += some
                maps += [
                    _of_place(seen, place)
                    for seen, each in zip(read.maps, captions, strict=True)
                    for place in each.asked
                ]
                logits += [] if read.logits is None else [read.logits]
        found = torch.stack(maps).detach()
        given = self._device.to_host(torch.cat(logits)) if logits else None
        return Explaining(works, order, self._device.to_host(found), given)

    def collect(self, step: Explaining) -> list[Outcome]:
        """Waits for a step, and gives each work its explanations."""
        maps = iter(step.maps.wait())
        logits = iter(step.logits.wait().tolist()) if step.logits else repeat(())
        found = {work: _outcome(work, maps, logits) for work in step.order}
        return [found[work] for work in step.works]


def _of_place(seen: Tensor, asked: Asked) -> Tensor:
    """(T, N) -> (patches,): the class token, which is no place, is left out."""
    words = [seen[word.start : word.stop, 1:].mean(dim=0) for word in asked.words]
    return torch.stack(words).mean(dim=0)


def _outcome(work: ExplainWork, maps: Iterator[Tensor], logits: Iterator[Sequence[float]]) -> Outcome:
    """The work's explanations, of the next `maps` and `logits`; a failure if one of the numbers is NaN or infinite."""
    found = [(caption, next(logits), [next(maps) for _ in caption.asked]) for caption in work.captions]
    numbers = [n for _, scores, places in found for n in (*scores, *(float(place.sum()) for place in places))]
    if not all(map(math.isfinite, numbers)):
        return Failed(not_finite())
    return Done(
        tuple((caption.index, _explanation(work, caption, scores, places)) for caption, scores, places in found)
    )


def _explanation(
    work: ExplainWork, caption: NumberedCaption, logits: Sequence[float], maps: Sequence[Tensor]
) -> Explanation:
    words = tuple(_word_map(place, found) for place, found in zip(caption.asked, maps, strict=True))
    scores = match_scores(logits or None, None)
    return Explanation(work.how.method, work.how.layer, work.size, words, scores.itm_logits, scores.itm_score)


def _word_map(asked: Asked, found: Tensor) -> WordMap:
    side = math.isqrt(len(found))
    maximum = float(found.max())
    share = found.double() / maximum if maximum > 0 else found
    grid = share.round(decimals=DIGITS).view(side, side).tolist()
    return WordMap(asked.text, asked.start, asked.end, tuple(map(tuple, grid)), maximum)
