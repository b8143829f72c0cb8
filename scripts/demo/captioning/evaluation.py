"""Evaluation: how rightly a saved folder captions pictures that training never drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from demo.captioning.batches import PROMPTS, begun, variants
from demo.captioning.captioner import Captioner
from demo.captions import PLURALS, plain_captions
from demo.drawing import Artist
from demo.pictures import shipped
from demo.references import NEW_TOKENS, Said
from demo.world import ATTRIBUTES, SHAPES, Scene, World

PICTURES = 1000
PROMPT = "a picture of"
_SHAPES = {plural: shape for shape, plural in PLURALS.items()} | {shape: shape for shape in SHAPES}


@dataclass(frozen=True)
class Gallery:
    """Scenes and a picture of each."""

    scenes: list[Scene]
    pictures: list[Image.Image]

    @staticmethod
    def drawn(seed: str, *, unseen: bool) -> Gallery:
        rng = Random(f"evaluation/{seed}/{unseen}")
        world, artist = World(rng), Artist(rng)
        scenes = [world.scene(unseen=unseen) for _ in range(PICTURES)]
        return Gallery(scenes, [artist.picture(scene) for scene in scenes])


def measure(folder: Path) -> dict[str, object]:
    """Every figure of a saved folder."""
    captioner = Captioner(folder)
    return {
        "pictures": PICTURES,
        "new_tokens": NEW_TOKENS,
        "prompt": PROMPT,
        "seen": _evaluate(captioner, unseen=False),
        "unseen": _evaluate(captioner, unseen=True),
        "shipped_pictures": _shipped(captioner),
    }


def _evaluate(captioner: Captioner, *, unseen: bool) -> dict[str, object]:
    gallery = Gallery.drawn("captions", unseen=unseen)
    return {
        "unprompted": _shares(captioner, gallery, ""),
        "prompted": _shares(captioner, gallery, PROMPT),
        "begun": _begun(captioner, gallery),
    }


def _shares(captioner: Captioner, gallery: Gallery, prompt: str) -> dict[str, float]:
    """The shares of captions that name rightly the colours, sizes, shapes of all things; exact ones; ended ones."""
    captions = captioner.captions(gallery.pictures, [prompt] * PICTURES)
    told = list(zip((_after(prompt, caption) for caption in captions), gallery.scenes, strict=True))
    exact = [(len(scene.things), words in plain_captions(scene)) for words, scene in told]
    return {
        **{name: _share([_named(words, name) == _values(scene, name) for words, scene in told]) for name in ATTRIBUTES},
        "one_exact": _share([right for things, right in exact if things == 1]),
        "two_exact": _share([right for things, right in exact if things == 2]),
        "ended": _share([caption.ended for caption in captions]),
    }


def _after(prompt: str, caption: Said) -> tuple[str, ...]:
    return tuple(caption.text.removeprefix(prompt).split())


def _share(truths: Sequence[bool]) -> float:
    return round(sum(truths) / len(truths), 4)


def _named(words: tuple[str, ...], attribute: str) -> list[str]:
    """The values of an attribute that a caption names, "two" doubling them."""
    singular = [_SHAPES.get(word, word) for word in words]
    return sorted([word for word in singular if word in ATTRIBUTES[attribute]] * (2 if "two" in words else 1))


def _values(scene: Scene, attribute: str) -> list[str]:
    return sorted(thing.value(attribute) for thing in scene.things)


def _begun(captioner: Captioner, gallery: Gallery) -> float:
    """The share of captions begun at will, openings and other orders among them, that go on rightly."""
    rng = Random("evaluation/begun")
    texts = [begun(scene, rng) for scene in gallery.scenes]
    captions = captioner.captions(gallery.pictures, [" ".join(text.words[: text.given]) for text in texts])
    wanted = [
        {
            (*opening, *words)
            for opening in ((), *PROMPTS)
            for order in plain_captions(scene)
            for words in variants(order)
        }
        for scene in gallery.scenes
    ]
    return _share([tuple(caption.text.split()) in right for caption, right in zip(captions, wanted, strict=True)])


def _shipped(captioner: Captioner) -> dict[str, dict[str, str]]:
    """What is said of each shipped picture, without a prompt and with one."""
    pictures = shipped()
    told = {
        kind: captioner.captions(list(pictures.values()), [prompt] * len(pictures))
        for kind, prompt in (("unprompted", ""), ("prompted", PROMPT))
    }
    return {name: {kind: captions[at].text for kind, captions in told.items()} for at, name in enumerate(pictures)}
