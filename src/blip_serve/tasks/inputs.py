"""Checks of a request's texts and images: how many there are, and whether the texts are valid."""

from collections.abc import Iterable, Sequence, Sized
from typing import Literal

from blip_serve.domain import Caption, Prepared
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings

Input = Caption | ImageSource
"""An input that may be a text or an image."""


def split(inputs: Sequence[Input]) -> tuple[tuple[ImageSource, ...], tuple[Caption, ...]]:
    """The images and the texts, each in order."""
    images = tuple(part for part in inputs if not isinstance(part, Caption))
    return images, tuple(part for part in inputs if isinstance(part, Caption))


def field_of(inputs: Sequence[Input]) -> str:
    """The request's field that holds the inputs: `documents` for `documents[3].text`."""
    return inputs[0].param.partition("[")[0] if inputs else ""


def check_any(**fields: Sized) -> None:
    """Raises `InvalidInput` that names the first empty field."""
    for name, entries in fields.items():
        if not entries:
            raise InvalidInput(f"'{name}' is empty.", param=name)


def check_positive(**fields: int | None) -> None:
    """Raises `InvalidInput` that names the first field below 1. A field that is `None` was not given and is skipped."""
    for name, value in fields.items():
        if value is not None and value < 1:
            raise InvalidInput(f"'{name}' is {value}; it must be 1 or more.", param=name)


def check_inputs(images: Sequence[ImageSource], texts: Sequence[Caption], limits: LimitSettings) -> None:
    """Raises `InvalidInput` that names the field if there are too many inputs, and as `check_text` does."""
    check_counts(len(images), len(texts), limits, field_of(images), field_of(texts))
    check_texts(texts, limits)


def check_counts(
    images: int, texts: int, limits: LimitSettings, images_field: str = "images", texts_field: str = "captions"
) -> None:
    """Raises `InvalidInput` for too many inputs. An endpoint may call this before it parses them."""
    if images > limits.max_images:
        raise _too_many("images", images, limits.max_images, images_field)
    if texts > limits.max_captions:
        raise _too_many("captions", texts, limits.max_captions, texts_field)


def check_zip(images: int, texts: int, limits: LimitSettings, images_field: str = "images") -> None:
    """Raises `InvalidInput` if there are not as many images as texts, or too many of both."""
    if images != texts:
        raise InvalidInput(f"'zip' pairs {images} images with {texts} captions.", param="pairing")
    if images > limits.max_zip_pairs:
        raise _too_many("images", images, limits.max_zip_pairs, images_field)


def check_pairs(images: Sequence[ImageSource], texts: Sequence[Caption], limits: LimitSettings) -> None:
    """Raises `InvalidInput` if every image with every text makes too many pairs."""
    pairs = len(images) * len(texts)
    if pairs > limits.max_pairs:
        raise InvalidInput(
            f"{len(images)} images with {len(texts)} captions are {pairs} pairs; the limit is {limits.max_pairs} a "
            "request.",
            code="too_many_captions",
            param=field_of(texts),
        )


def check_text(text: Caption, limits: LimitSettings) -> None:
    """Raises `InvalidInput` for a text that is blank or longer than the limit."""
    if not text.text.strip():
        raise InvalidInput("The text is blank.", code="empty_input", param=text.param)
    check_length(text, limits)


def check_texts(texts: Iterable[Caption], limits: LimitSettings) -> None:
    """Raises what `check_text` raises for the first text that is at fault."""
    for text in texts:
        check_text(text, limits)


def check_length(text: Caption, limits: LimitSettings) -> None:
    """Raises `InvalidInput` for a text that is longer than the limit. Blanks count: they too cost tokenizer time."""
    if len(text.text) > limits.max_caption_chars:
        raise InvalidInput(
            f"The text has {len(text.text)} characters; the limit is {limits.max_caption_chars}.",
            code="input_too_long",
            param=text.param,
        )


def check_distinct(texts: Iterable[tuple[int, Caption]], prepared: Prepared) -> None:
    """Raises `InvalidInput` for a text with the same tokens as an earlier one: both would get the same probability.

    `texts`: texts of an item, with their indices in it. `prepared`: the item as the model prepared it.
    """
    met: dict[int, Caption] = {}
    for index, text in texts:
        first = met.setdefault(prepared.alike[index] if prepared.alike else index, text)
        if first is not text:
            raise InvalidInput(
                f"'{text.param}' reads to the model like '{first.param}': it cannot tell them apart.",
                code="duplicate_value",
                param=text.param,
            )


def same_kind(part: Input) -> InvalidInput:
    """The error for a text paired with a text, or an image paired with an image."""
    kind = "text" if isinstance(part, Caption) else "image"
    is_url = isinstance(part, Caption) and part.text.lower().startswith(("http://", "https://"))
    hint = ' An image by URL is given as an object, {"url": ...}.' if is_url else ""
    return InvalidInput(
        f"This {kind} would be scored against another {kind}; a score is of a text and an image.{hint}",
        code="unsupported_input",
        param=part.param,
    )


def _too_many(what: Literal["images", "captions"], found: int, limit: int, field: str) -> InvalidInput:
    return InvalidInput(f"{found} {what}; the limit is {limit} a request.", code=f"too_many_{what}", param=field)
