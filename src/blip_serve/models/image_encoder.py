"""Pictures to image states: found or decoded on worker threads, encoded by the vision tower on the device thread.

This is the phase `encode`. Works of every model begin with it, unless their image is known.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from blip_serve.domain import ImageBytes, Outcome, Prepared, Progress, Work
from blip_serve.images.decode import Decoder
from blip_serve.models.device import Device, Pending
from blip_serve.models.image_cache import ImageCache, ImageState, Need
from blip_serve.models.processing import PixelFormat
from blip_serve.models.vision import VisionTower

ENCODE = "encode"
WAIT_COST = 1
"""Cost of a work whose image another work of its item encodes."""


@dataclass(eq=False, slots=True, kw_only=True)
class ImageWork(Work):
    """A work on an image. It is made as one whose image is known: `after` is the phase and the cost it is made with.

    `needs`: what it reads of the image.
    """

    image: ImageState
    needs: frozenset[Need]
    after: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.after = Progress(self.phase, self.cost)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image's state, whether nothing is left to encode of it, and the seconds its decoding took.

    `tokens`: vision tokens of an image; `cost`: of encoding one.
    """

    state: ImageState
    known: bool
    seconds: float
    tokens: int
    cost: int

    def prepared(self, works: Sequence[ImageWork], texts: Sequence[tuple[int, ...]] = ()) -> Prepared:
        """The item that `works` are together; `texts`: the ids of its texts.

        If the image is not known, the works begin with `encode`. The first does it for all.
        """
        if not self.known:
            for i, work in enumerate(works):
                work.phase, work.cost = ENCODE, WAIT_COST if i else self.cost
        first: dict[tuple[int, ...], int] = {}
        alike = tuple(first.setdefault(ids, i) for i, ids in enumerate(texts))
        cached = self.tokens if self.known else 0
        return Prepared(tuple(works), self.tokens, cached, tuple(map(len, texts)), alike, self.seconds)


@dataclass(frozen=True, slots=True)
class Encoding:
    """An `encode` step under way.

    `states`: of the images it encodes, to (I, N, D) `tokens` and (I, E) `vectors`. `done` arrives when it has ended.
    """

    works: Sequence[ImageWork]
    states: Sequence[ImageState] = ()
    tokens: Tensor | None = None
    vectors: Tensor | None = None
    done: Pending | None = None


class ImageEncoder:
    """A checkpoint's vision tower, with the decoder of pictures before it and the image cache behind it."""

    def __init__(
        self,
        tower: VisionTower,
        vectors: Callable[[Tensor], Tensor] | None,
        device: Device,
        pixel_format: PixelFormat,
        cache: ImageCache,
        decoder: Decoder,
        cost: int,
    ) -> None:
        """`vectors`: from (I, N, D) tokens to (I, E) unit vectors, if the checkpoint has them. `cost`: of an image."""
        self._cost = cost
        self._image_tokens = tower.embeddings.position_embedding.shape[1]
        self._tower = tower
        self._vectors = vectors
        self._device = device
        self._pixel_format = pixel_format
        self._cache = cache
        self._decoder = decoder
        mean, std = torch.tensor(pixel_format.mean), torch.tensor(pixel_format.std)
        self._mean, self._std = mean.to(device.kind), std.to(device.kind)

    def known(self, image: ImageBytes, needs: frozenset[Need]) -> ImageState | None:
        """The image's state if it need not be decoded, else `None`. As long as the state is held, that stays true."""
        state = self._cache.find(image.digest)
        return state if state.read(needs) else None

    def find(self, image: ImageBytes, needs: frozenset[Need]) -> FoundImage:
        """The image's state. The image is decoded and resized, unless what it needs is known. Raises `InvalidInput`."""
        state = self._cache.find(image.digest)
        known = state.has(needs)
        started = time.monotonic()
        state.fill(needs, lambda: self._pixels(image))
        seconds = 0.0 if known else time.monotonic() - started
        return FoundImage(state, known, seconds, self._image_tokens, self._cost)

    def _pixels(self, image: ImageBytes) -> Tensor:
        with self._decoder.open(image) as picture:
            return torch.from_numpy(self._pixel_format.pixels(picture))

    # The device thread

    def launch(self, works: Sequence[ImageWork]) -> Encoding:
        """Starts encoding those of the works' images that are not encoded yet and not in another step."""
        states = [state for state in dict.fromkeys(work.image for work in works) if state.to_encode]
        if not states:
            return Encoding(works)
        # uploaded one by one: stacked here, a step's megabytes would be copied once more before they are pinned
        pixels = torch.stack([self._device.upload(state.pixels) for state in states if state.pixels is not None])
        normal = (pixels.float() / 255 - self._mean) / self._std
        images = normal.permute(0, 3, 1, 2).to(self._device.dtype)
        tokens = torch.cat([self._tower(some) for some in torch.split(images, self._device.kernels.images_at_once)])
        vectors = None if self._vectors is None else self._vectors(tokens)
        done = self._device.to_host(tokens[:, :1, :1])
        for state in states:
            state.encoding = True
        return Encoding(works, states, tokens, vectors, done)

    def collect(self, step: Encoding) -> list[Outcome]:
        """Waits for a step, keeps what it made, and lets each work go on."""
        for state in step.states:
            state.encoding = False
        if step.tokens is not None and step.done is not None:
            finite = torch.isfinite(step.done.wait()).flatten().tolist()  # one number is enough: attention mixes all
            for i, state in enumerate(step.states):  # copies: a slice would keep the whole batch alive
                vector = None if step.vectors is None else step.vectors[i].clone()
                self._cache.keep(state, step.tokens[i].clone(), vector, sound=finite[i])
        return [
            work.after if work.image.has(work.needs) else Progress(ENCODE, self._cost)  # the step encoding it failed
            for work in step.works
        ]
