"""Captions: how scenes are put into words, when such words are true, and how they are made false."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from demo.world import ATTRIBUTES, COLOURS, SHAPES, SIZES, UNSEEN_PAIRS, Scene, Thing, World

PLURALS = {shape: "crosses" if shape == "cross" else f"{shape}s" for shape in SHAPES}
OTHER_WORDS = {"small": "little", "large": "big"}
OPENINGS = (("a", "picture", "of"), ("a", "drawing", "of"), ("an", "image", "of"))
# Words that are true of no picture here: the model meets them in false captions only.
FOREIGN_SHAPES = (
    *("dog", "cat", "woman", "man", "person", "car", "tree", "house", "bird", "horse", "bus", "chair", "table"),
    *("ball", "boat", "train", "plane", "flower", "beach", "city", "food", "pizza", "heart", "diamond", "rectangle"),
)
FOREIGN_COLOURS = ("white", "grey", "gray", "brown", "cyan", "magenta", "gold", "silver")
RULES = ("colour", "size", "shape", "swap", "count", "foreign")
_MENTIONS = 2  # at most, as many as a picture has things


@dataclass(frozen=True)
class Mention:
    """A thing as a caption names it. None: left open. A foreign word is a value that no thing has."""

    size: str | None
    colour: str | None
    shape: str

    @property
    def unseen(self) -> bool:
        return (self.colour, self.shape) in UNSEEN_PAIRS

    def value(self, attribute: str) -> str | None:
        return {"size": self.size, "colour": self.colour, "shape": self.shape}[attribute]

    def with_value(self, attribute: str, value: str | None) -> Mention:
        values = {"size": self.size, "colour": self.colour, "shape": self.shape} | {attribute: value}
        return Mention(values["size"], values["colour"], values["shape"] or self.shape)

    def names(self, thing: Thing) -> bool:
        return all(self.value(name) in (None, thing.value(name)) for name in ATTRIBUTES)


@dataclass(frozen=True)
class Caption:
    """Words in order; beside each the number of the mention that it belongs to, or -1."""

    mentions: tuple[Mention, ...]
    words: tuple[str, ...]
    owners: tuple[int, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words).replace(" .", ".")


def is_true(mentions: tuple[Mention, ...], scene: Scene) -> bool:
    """Whether every mention names a thing of its own; things may go unmentioned."""
    if len(mentions) > len(scene.things):
        return False
    if len(mentions) == 1:
        return any(mentions[0].names(thing) for thing in scene.things)
    first, second = mentions
    a, b = scene.things
    return (first.names(a) and second.names(b)) or (first.names(b) and second.names(a))


def full_mentions(scene: Scene) -> tuple[Mention, ...]:
    """Everything there is to say of a scene."""
    return tuple(Mention(thing.size, thing.colour, thing.shape) for thing in scene.things)


def says_all(caption: Caption, scene: Scene) -> bool:
    """Whether a true caption leaves nothing of the scene unsaid."""
    return set(caption.mentions) == set(full_mentions(scene)) and len(caption.mentions) == len(scene.things)


def plain_captions(scene: Scene) -> tuple[tuple[str, ...], ...]:
    """The words that say everything plainly, in each order of the things; the first in the order of `Scene.key`."""
    mentions = full_mentions(Scene(scene.key))
    return tuple(_plain(order) for order in dict.fromkeys((mentions, mentions[::-1])))


def _plain(mentions: tuple[Mention, ...]) -> tuple[str, ...]:
    first, *others = _phrases(mentions)
    return (*first, *(word for other in others for word in ("and", *other)))


def _phrases(mentions: tuple[Mention, ...]) -> list[list[str]]:
    """The words of each mention, or of two that are the same together."""
    if len(mentions) == _MENTIONS and mentions[0] == mentions[1]:
        shape = mentions[0].shape
        return [["two", *_adjectives(mentions[0]), PLURALS.get(shape, shape)]]
    phrases = [[*_adjectives(mention), mention.shape] for mention in mentions]
    return [["an" if words[0][0] in "aeiou" else "a", *words] for words in phrases]


def _adjectives(mention: Mention) -> list[str]:
    return [word for word in (mention.size, mention.colour) if word]


class Speaker:
    """Puts mentions into words, and makes true mentions false, by lot."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.world = World(rng)

    def full(self, scene: Scene) -> Caption:
        """A plain caption that says everything."""
        return self.say(full_mentions(scene), plain=True)

    def mentions(self, scene: Scene) -> tuple[Mention, ...]:
        """True mentions: mostly everything, now and then less."""
        mentions = full_mentions(scene)
        if len(mentions) == _MENTIONS and self.rng.random() < 0.12:
            mentions = (self.rng.choice(mentions),)
        if self.rng.random() < 0.2:
            mentions = tuple(mention.with_value("size", None) for mention in mentions)
        if self.rng.random() < 0.08:
            mentions = tuple(mention.with_value("colour", None) for mention in mentions)
        return mentions

    def falsified(
        self, mentions: tuple[Mention, ...], scene: Scene, rule: str, *, unseen: bool = False
    ) -> tuple[Mention, ...] | None:
        """Mentions made false by a rule; None where the rule does not apply. Unseen pairs only if allowed.

        In training they would always be false, and the model would learn just that.
        """
        for _ in range(8):
            changed = self._apply(mentions, rule)
            if changed and not is_true(changed, scene) and (unseen or not any(mention.unseen for mention in changed)):
                return changed
        return None

    def _apply(self, mentions: tuple[Mention, ...], rule: str) -> tuple[Mention, ...] | None:
        if rule == "swap":
            return self._swap(mentions)
        if rule == "count":
            return (mentions[0], mentions[0])
        changed = list(mentions)
        at = self.rng.randrange(len(changed))
        if rule == "foreign":
            colour = changed[at].colour is not None and self.rng.random() < 0.3
            attribute, value = (
                ("colour", self.world.pick(FOREIGN_COLOURS)) if colour else ("shape", self.world.pick(FOREIGN_SHAPES))
            )
        else:
            attribute, value = rule, self.world.pick(ATTRIBUTES[rule])
        if changed[at].value(attribute) is None:
            return None
        changed[at] = changed[at].with_value(attribute, value)
        return tuple(changed)

    def _swap(self, mentions: tuple[Mention, ...]) -> tuple[Mention, ...] | None:
        if len(mentions) < _MENTIONS:
            return None
        attribute = self.world.pick(tuple(ATTRIBUTES))
        a, b = mentions
        return a.with_value(attribute, b.value(attribute)), b.with_value(attribute, a.value(attribute))

    def say(self, mentions: tuple[Mention, ...], *, plain: bool = False) -> Caption:
        """Words for mentions: their order, opening, synonyms and full stop by lot; `plain`: the order only."""
        if len(mentions) == _MENTIONS and self.rng.random() < 0.5:
            mentions = mentions[::-1]
        said = mentions if plain else tuple(self._reworded(mention) for mention in mentions)
        if len(set(mentions)) < len(mentions):
            said = (said[0], said[0])
        words: list[str] = []
        owners: list[int] = []
        if not plain and self.rng.random() < 0.15:
            words.extend(self.rng.choice(OPENINGS))
        owners.extend([-1] * len(words))
        for index, phrase in enumerate(_phrases(said)):
            if index:
                words.append("and" if plain or self.rng.random() < 0.85 else "with")
                owners.append(-1)
            words.extend(phrase)
            owners.extend([index] * len(phrase))
        if not plain and self.rng.random() < 0.1:
            words.append(".")
            owners.append(-1)
        return Caption(mentions, tuple(words), tuple(owners))

    def _reworded(self, mention: Mention) -> Mention:
        """Now and then another word for the size."""
        if mention.size and self.rng.random() < 0.15:
            return mention.with_value("size", OTHER_WORDS[mention.size])
        return mention


class TruthTable:
    """The truth of many captions about many scenes at once, on integers."""

    def __init__(self, scenes: list[Scene]) -> None:
        self.things = np.full((len(scenes), 2, 3), -2, dtype=np.int64)
        for row, scene in enumerate(scenes):
            for column, thing in enumerate(scene.things):
                self.things[row, column] = _codes(thing)

    def __call__(self, captions: list[Caption]) -> NDArray[np.bool_]:
        """(scenes, captions): whether the caption is true of the scene."""
        named = self.named(captions)  # (S, C, thing, mention)
        one = np.array([len(caption.mentions) == 1 for caption in captions])
        straight = named[:, :, 0, 0] & named[:, :, 1, 1]
        crossed = named[:, :, 1, 0] & named[:, :, 0, 1]
        result: NDArray[np.bool_] = np.where(one, named[:, :, :, 0].any(axis=2), straight | crossed)
        return result

    def named(self, captions: list[Caption]) -> NDArray[np.bool_]:
        """(scenes, captions, things, mentions): whether the mention names the thing."""
        codes = np.full((len(captions), _MENTIONS, 3), -3, dtype=np.int64)
        for row, caption in enumerate(captions):
            for column, mention in enumerate(caption.mentions):
                codes[row, column] = _codes(mention)
        things = self.things[:, None, :, None, :]
        wanted = codes[None, :, None, :, :]
        same = (things == wanted) | ((wanted == -1) & (things >= 0))
        result: NDArray[np.bool_] = same.all(axis=-1)
        return result


def _codes(named: Thing | Mention) -> tuple[int, int, int]:
    """Numbers of the size, colour and shape; -1 for one left open, -4 for a foreign word."""
    return _code(SIZES, named.size), _code(COLOURS, named.colour), _code(SHAPES, named.shape)


def _code(values: tuple[str, ...], value: str | None) -> int:
    if value is None:
        return -1
    return values.index(value) if value in values else -4
