"""The world: what can stand in a picture, and how scenes are drawn by lot. Knows no pixels and no words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

SIZES = ("small", "large")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
ATTRIBUTES: dict[str, tuple[str, ...]] = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}

# Never drawn for training, never in a training caption: true or false, the model has not met these pairs.
UNSEEN_PAIRS = frozenset({("red", "star"), ("blue", "triangle"), ("green", "ring"), ("yellow", "cross")})

ONE_THING = 0.25  # the share of pictures with a single thing
SAME_TWICE = 0.04  # the share of pictures with the same thing twice
TWINS = 0.15  # the share of lessons with two things that are nearly or quite the same


@dataclass(frozen=True)
class Thing:
    """One drawn shape."""

    size: str
    colour: str
    shape: str

    @property
    def unseen(self) -> bool:
        return (self.colour, self.shape) in UNSEEN_PAIRS

    def value(self, attribute: str) -> str:
        return str(getattr(self, attribute))

    def with_value(self, attribute: str, value: str) -> Thing:
        values = {"size": self.size, "colour": self.colour, "shape": self.shape} | {attribute: value}
        return Thing(**values)


@dataclass(frozen=True)
class Scene:
    """What a picture shows: one or two things, in no order."""

    things: tuple[Thing, ...]

    @property
    def key(self) -> tuple[Thing, ...]:
        """The same for two scenes that no caption can tell apart."""
        return tuple(sorted(self.things, key=lambda thing: (thing.size, thing.colour, thing.shape)))

    @property
    def unseen(self) -> bool:
        return any(thing.unseen for thing in self.things)


class World:
    """Draws things and scenes by lot from one random generator."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def pick(self, values: tuple[str, ...]) -> str:
        return self.rng.choice(values)

    def thing(self, *, unseen: bool = False) -> Thing:
        """A thing of a seen (colour, shape) pair, or of an unseen one."""
        while True:
            thing = Thing(self.pick(SIZES), self.pick(COLOURS), self.pick(SHAPES))
            if thing.unseen == unseen:
                return thing

    def scene(self, *, unseen: bool = False, one: bool | None = None) -> Scene:
        """A scene of seen pairs; with `unseen`, its first thing is of an unseen pair."""
        first = self.thing(unseen=unseen)
        if self.rng.random() < ONE_THING if one is None else one:
            return Scene((first,))
        if self.rng.random() < SAME_TWICE:
            return Scene((first, first))
        return Scene((first, self.thing()))

    def lesson(self) -> Scene:
        """A scene of seen pairs, in which two things are often hard to keep apart."""
        return self._twins() if self.rng.random() < TWINS else self.scene()

    def _twins(self) -> Scene:
        """Two things of seen pairs, the same or different in one attribute."""
        while True:
            first = self.thing()
            if self.rng.random() < 0.5:
                return Scene((first, first))
            attribute = self.pick(tuple(ATTRIBUTES))
            scene = Scene((first, first.with_value(attribute, self.pick(ATTRIBUTES[attribute]))))
            if not scene.unseen:
                return scene

    def sibling(self, scene: Scene) -> Scene:
        """A scene of seen pairs that differs from `scene` in one attribute or in which thing has it."""
        while True:
            found = self._swapped(scene) if len(scene.things) == 2 and self.rng.random() < 0.4 else self._changed(scene)
            if not found.unseen and found.key != scene.key:
                return found

    def _changed(self, scene: Scene) -> Scene:
        attribute = self.pick(tuple(ATTRIBUTES))
        things = list(scene.things)
        at = self.rng.randrange(len(things))
        things[at] = things[at].with_value(attribute, self.pick(ATTRIBUTES[attribute]))
        return replace(scene, things=tuple(things))

    def _swapped(self, scene: Scene) -> Scene:
        attribute = self.pick(tuple(ATTRIBUTES))
        a, b = scene.things
        return Scene((a.with_value(attribute, b.value(attribute)), b.with_value(attribute, a.value(attribute))))
