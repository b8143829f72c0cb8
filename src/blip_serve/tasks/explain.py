"""Explains matches: where an image shows the words of a caption. Knows no HTTP and no tensors."""

import unicodedata
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    MAX_POSITIONS,
    Caller,
    Caption,
    ExplainItem,
    ExplainMethod,
    Explanation,
    Layer,
    Per,
    Prepared,
    Size,
    Task,
    explanation_cost,
    request_cost,
)
from blip_serve.errors import InvalidInput
from blip_serve.heat import Grid, heat_layer, png_file
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings
from blip_serve.tasks.inputs import check_any, check_text, check_texts, field_of
from blip_serve.tasks.request import Request, Result, usage_of
from blip_serve.tasks.session import Session, Sessions, all_of

Format = Literal["grid", "png"]
FRAME = 2
"""Tokens of a text beside those of its characters: `[CLS]` and `[SEP]`."""


@dataclass(frozen=True, slots=True)
class ExplainRequest(Request["ExplainResult"]):
    """Explain every image with every caption.

    `question`: for a model that answers questions; the captions are answers to it. `method`, `layer`: `None` means
    those of the model's card. `per`: whether each word has a map, or each caption. `format`: `png` also draws them.
    """

    needs: ClassVar[tuple[Task, ...]] = ("explain",)

    images: tuple[ImageSource, ...]
    captions: tuple[Caption, ...]
    question: Caption | None = None
    method: ExplainMethod | None = None
    layer: Layer | None = None
    per: Per = "word"
    format: Format = "grid"


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of one pair. The indices are those in the request.

    `layers`: with `format: png`, a PNG file for each of its words, to lay over the image.
    """

    image_index: int
    caption_index: int
    explanation: Explanation
    layers: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ExplainResult(Result):
    """Explanations ordered by image, then by caption."""

    explanations: tuple[Explained, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The explanations of one image. `digest`, `prepared`: for the usage."""

    explanations: tuple[Explained, ...]
    digest: str
    prepared: Prepared


async def explain(request: ExplainRequest, caller: Caller, sessions: Sessions) -> ExplainResult:
    """The request's explanations. Raises `ServiceError`s that name the request's fields."""
    _check(request, sessions.limits)
    cost = admission_cost(request, sessions.card(request, caller), sessions.limits)
    async with sessions.open(request, caller, min(cost, sessions.room)) as session:
        words = sessions.limits.max_explained_words // len(request.images)
        parts = await all_of([_part(session, request, image, words) for image in range(len(request.images))])
        texts = parts[0].prepared.text_tokens  # those of every image
        usage = usage_of(((part.digest, part.prepared) for part in parts), sum(texts))
        explanations = tuple(explained for part in parts for explained in part.explanations)
        return ExplainResult(explanations, **session.served(usage))


def admission_cost(request: ExplainRequest, card: ModelCard, limits: LimitSettings) -> int:
    """The most that the request can cost: a text has at most as many tokens as characters, or as positions.

    Characters as BERT's tokenizer sees them: it takes Hangul apart, a syllable into up to three. There are no more
    words than characters either, and a worker draws one in about a unit.
    """
    positions = MAX_POSITIONS if card.shape is None else card.shape.text_positions

    def tokens(text: Caption) -> int:
        return min(len(unicodedata.normalize("NFD", text.text)) + FRAME, positions)

    images, asked = len(request.images), 0 if request.question is None else tokens(request.question)
    pairs = images * sum(explanation_cost(1, tokens(caption), asked) for caption in request.captions)
    words = sum(1 if request.per == "caption" else len(caption.text) for caption in request.captions)
    drawn = min(images * words, limits.max_explained_words) if request.format == "png" else 0
    return request_cost(images, pairs + drawn)


def check_explanations(images: int, captions: int, limits: LimitSettings, field: str = "captions") -> None:
    """Raises `InvalidInput` for too many pairs. An endpoint may call this before it parses them."""
    if images * captions > limits.max_explanations:
        raise InvalidInput(
            f"{images} images with {captions} captions are {images * captions} pairs; at most "
            f"{limits.max_explanations} are explained a request.",
            code="too_many_captions",
            param=field,
        )


def _check(request: ExplainRequest, limits: LimitSettings) -> None:
    check_any(images=request.images, captions=request.captions)
    check_explanations(len(request.images), len(request.captions), limits, field_of(request.captions))
    check_texts(request.captions, limits)
    if request.question is not None:
        check_text(request.question, limits)
    if isinstance(request.layer, bool) or (not isinstance(request.layer, int | None) and request.layer != "all"):
        raise InvalidInput(f"'layer' is {request.layer!r:.100}; it must be an index or 'all'.", param="layer")


async def _part(session: Session, request: ExplainRequest, image: int, words: int) -> Part:
    loaded = await session.load(request.images[image])
    item = ExplainItem(
        loaded,
        request.captions,
        request.question,
        request.method,
        request.layer,
        request.per,
        words,
        session.protocol,
    )
    prepared, found = await session.run(item)
    explanations = [Explained(image, caption, each) for caption, each in enumerate(found)]
    if request.format == "png":
        explanations = await all_of([_drawn(session, each) for each in explanations])
    return Part(tuple(explanations), loaded.digest, replace(prepared, works=()))  # works hold the image's embeddings


async def _drawn(session: Session, explained: Explained) -> Explained:
    """The same with its layers, each drawn on a worker."""
    found = explained.explanation
    layers = [session.work(partial(_png, word.map, found.size)) for word in found.words]
    return replace(explained, layers=tuple(await all_of(layers)))


def _png(grid: Grid, size: Size) -> bytes:
    return png_file(heat_layer(grid, size))
