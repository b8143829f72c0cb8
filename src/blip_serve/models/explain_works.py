"""The works of an item that asks for explanations."""

from collections.abc import Sequence
from dataclasses import dataclass

from blip_serve.domain import EXPLAIN_PASSES, Caption, ExplainItem, ExplainMethod, Layer, Per, Size, caption_cost
from blip_serve.errors import InvalidInput
from blip_serve.models.image_cache import TOKENS, ImageState
from blip_serve.models.image_encoder import ImageWork
from blip_serve.models.text_batches import MAX_TEXTS_COST, cut
from blip_serve.models.words import Spelled, Word

EXPLAIN = "explain"
"""The phase after `encode`."""
MAX_COST = 160
"""What the smallest step holds that the settings allow: a caption is never cut, however long its question."""


@dataclass(frozen=True, slots=True)
class How:
    """How maps are made: by `layers`, which the request calls `layer`."""

    method: ExplainMethod
    layer: Layer
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A place in a caption that gets a map: the mean over `words`, each of which is the mean over its positions."""

    text: str
    start: int
    end: int
    words: tuple[range, ...]


@dataclass(frozen=True, slots=True)
class NumberedCaption:
    """Caption number `index` of its item: its ids as the tower reads it, and the places in it that get maps."""

    index: int
    ids: tuple[int, ...]
    asked: tuple[Asked, ...]


@dataclass(eq=False, slots=True, kw_only=True)
class ExplainWork(ImageWork):
    """One image and some of its item's captions.

    `question`: its ids, if the captions are answers. `size`: of the upright image.
    """

    captions: tuple[NumberedCaption, ...]
    how: How
    size: Size
    question: tuple[int, ...] = ()


def how_to(item: ExplainItem, methods: Sequence[ExplainMethod], default: Layer, layers: int) -> How:
    """How an item's maps are made. `methods`: those that the model has, its own first. `layers`: of its text tower.

    Raises `InvalidInput` naming the item's field.
    """
    method, layer = item.method or methods[0], default if item.layer is None else item.layer
    if method not in methods:
        raise InvalidInput(
            f"This model has no match score that '{method}' could explain; it has 'attention'.",
            code="unsupported_value",
            param="method",
        )
    if layer == "all":
        return How(method, layer, tuple(range(layers)))
    if not 0 <= layer < layers:
        raise InvalidInput(f"'layer' must be 'all' or 0 to {layers - 1}.", param="layer")
    return How(method, layer, (layer,))


def check_no_question(item: ExplainItem) -> None:
    """Raises `InvalidInput` for a question to a model that answers none."""
    if item.question is not None:
        raise InvalidInput(
            "This model answers no questions: leave the question out, or name a model that does.",
            code="unsupported_parameter",
            param=item.question.param,
        )


def explain_works(
    item: ExplainItem,
    read: Sequence[Spelled],
    how: How,
    image: ImageState,
    size: Size,
    projection: int,
    question: tuple[int, ...] = (),
) -> list[ExplainWork]:
    """Works that are together the item. `read`: the captions' ids as the tower reads them, and their words' positions.

    `projection`: the cost of projecting the image.

    Raises `InvalidInput` naming the caption that has no words, or the captions if there are more words than the item
    may have maps.
    """
    asked = [_asked(caption, each.words, item.per) for caption, each in zip(item.captions, read, strict=True)]
    maps = sum(map(len, asked))
    if maps > item.max_words:
        raise InvalidInput(
            f"The captions have {maps} words; the limit is {item.max_words} of an image. 'per': 'caption' asks for one "
            "map of each caption.",
            code="too_many_words",
            param=item.captions[0].param.partition("[")[0],
        )
    reading = caption_cost(len(question))
    most = MAX_COST - projection
    costs = [min(EXPLAIN_PASSES * (caption_cost(len(each.ids)) + reading), most) for each in read]
    return [
        ExplainWork(
            phase=EXPLAIN,
            cost=projection + sum(costs[i] for i in piece),
            length=len(read[piece[-1]].ids),
            image=image,
            needs=TOKENS,
            captions=tuple(NumberedCaption(i, read[i].ids, asked[i]) for i in piece),
            how=how,
            size=size,
            question=question,
        )
        for piece in cut([len(each.ids) for each in read], costs, MAX_TEXTS_COST - projection)
    ]


def _asked(caption: Caption, words: Sequence[Word], per: Per) -> tuple[Asked, ...]:
    if not words:  # of characters alone that the tokenizer drops
        raise InvalidInput("The text has no words.", code="empty_input", param=caption.param)
    if per == "word":
        return tuple(Asked(word.text, word.start, word.end, (word.tokens,)) for word in words)
    return (Asked(caption.text, 0, len(caption.text), tuple(word.tokens for word in words)),)
