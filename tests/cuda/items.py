"""Small checkpoints of each kind, and items that go through all of their phases, in all ways that launch differs."""

from pathlib import Path
from typing import Any

from blip_serve.domain import Caption, EmbedItem, Item, RankItem
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.matcher import Matcher
from tests.support.checkpoints import SMALL, SMALL_VQA, Kind, build
from tests.support.explaining import explaining
from tests.support.pictures import encoded, picture
from tests.support.running import image_bytes, item, writing

MODELS: dict[Kind, Any] = {"retrieval": Matcher, "captioning": Captioner, "answering": Answerer}
PHASES: dict[Kind, set[str]] = {
    "retrieval": {"encode", "score", "embed", "explain"},
    "captioning": {"encode", "prefill", "decode", "explain"},
    "answering": {"encode", "read", "prefill", "decode", "rank", "explain"},
}
TEXTS = ["a dog", "a", "two small red dogs and a woman on the beach", "what is it with the cat?"]
WAYS: list[dict[str, Any]] = [
    {},
    {"n": 2, "temperature": 1.0, "top_p": 0.9, "seed": 1},
    {"n": 2, "temperature": 0.7, "top_logprobs": 3, "seed": 2, "repetition_penalty": 1.3},
    {"top_logprobs": 0, "min_tokens": 5},
    {"num_beams": 3},
    {"num_beams": 2, "repetition_penalty": 1.2, "min_tokens": 3},
]
IMAGES = [encoded(picture(seed)) for seed in range(8)]
"""More than `Kernels.many_images`, so that some are attended to as they are."""


def checkpoint(folder: Path, kind: Kind) -> Path:
    """A small one."""
    return build(folder, SMALL_VQA if kind == "answering" else SMALL, kind=kind, seed=7)


def items(kind: Kind, first: int = 0) -> list[Item]:
    """For images from the `first` on."""
    images = IMAGES[first:]
    if kind == "retrieval":
        return [
            item(images[0], TEXTS * 3),
            item(images[1], TEXTS[:1]),
            item(images[1], TEXTS, "paper"),
            item(images[2], ["a red cat"], scores=frozenset({"cosine"})),
            EmbedItem(image_bytes(images[3]), "hf"),
            EmbedItem(Caption("a green cat", "input"), "hf"),
            explaining(images[0], TEXTS, "gradcam"),
            explaining(images[3], TEXTS[:1], "attention", "all", "paper"),
        ]
    texts = [writing(images[i % 6], TEXTS[i % 4], **way) for i, way in enumerate(WAYS * 2)]
    if kind == "captioning":
        return [*texts, explaining(images[0], TEXTS)]
    answers = tuple(Caption(text, "answers") for text in TEXTS)
    ranked = [RankItem(image_bytes(image), Caption("what is it?", "question"), answers) for image in images[:2]]
    return [*texts, *ranked, explaining(images[0], TEXTS, question="what is it?")]
