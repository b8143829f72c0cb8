"""Questions about scenes and their answers, by lot. Knows no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from random import Random

from demo.captions import PLURALS
from demo.world import ATTRIBUTES, UNSEEN_PAIRS, Scene, Thing

KINDS = ("colour", "size", "shape", "count", "presence", "trait")
_NOUNS = {"thing": "things", "shape": "shapes"}
_NUMBERS = ("zero", "one", "two")
_NAMES = {"colour": ("colour", "color"), "size": ("size",), "shape": ("shape",)}
WORDS = (
    *("what", "how", "many", "is", "are", "there", "the", "of", "in", "it", "a", "an", "picture", "?"),
    *(name for names in _NAMES.values() for name in names),
    *(*_NOUNS, *_NOUNS.values(), *_NUMBERS, "yes", "no"),
)

Traits = Mapping[str, str]  # values of some of the attributes


@dataclass(frozen=True)
class Question:
    """Words, and the one word that answers them."""

    words: tuple[str, ...]
    answer: str

    @property
    def text(self) -> str:
        return " ".join(self.words).replace(" ?", "?")


def matching(traits: Traits, scene: Scene) -> list[Thing]:
    """The things that have all the traits."""
    return [thing for thing in scene.things if all(thing.value(name) == value for name, value in traits.items())]


class Asker:
    """Asks about scenes by lot; of unseen pairs only where that is allowed."""

    def __init__(self, rng: Random, *, unseen: bool = False) -> None:
        self.rng = rng
        self.unseen = unseen

    def ask(self, scene: Scene, kind: str) -> Question | None:
        """A question of a kind; none where no words tell the thing to ask about from the other."""
        if kind == "count":
            return self.count(scene)
        if kind == "presence":
            return self._presence(scene)
        return self._trait(scene) if kind == "trait" else self._value(scene, kind)

    def _value(self, scene: Scene, attribute: str) -> Question | None:
        thing = self.rng.choice(scene.things)
        traits = self._telling(scene, thing, attribute)
        if traits is None:
            return None
        subject = self._definite(traits) if traits or self.rng.random() < 0.5 else "it"
        name = self.rng.choice(_NAMES[attribute])
        ways = [f"what {name} is {subject}", f"what is the {name} of {subject}"]
        if attribute == "size":
            ways.append(f"how {self.rng.choice(('large', 'big'))} is {subject}")
        return self._question(self.rng.choice(ways), thing.value(attribute))

    def _trait(self, scene: Scene) -> Question | None:
        """Whether a thing has a value; no other thing of the scene is meant."""
        thing, attribute = self.rng.choice(scene.things), self.rng.choice(tuple(ATTRIBUTES))
        traits = self._telling(scene, thing, attribute)
        if traits is None:
            return None
        value = thing.value(attribute)
        if self.rng.random() < 0.5:
            value = self._other({**traits, attribute: value}, attribute)
        said = self._noun({attribute: value}, article=True) if attribute == "shape" else value
        answer = "yes" if value == thing.value(attribute) else "no"
        return self._question(f"is {self._definite(traits)} {said}", answer)

    def count(self, scene: Scene) -> Question:
        """All things, or those of one colour or shape; mostly one that is there."""
        thing = self.rng.choice(scene.things)
        traits: dict[str, str] = {}
        if self.rng.random() < 0.5:
            attribute = self.rng.choice(("colour", "shape"))
            value = thing.value(attribute) if self.rng.random() < 0.7 else self.rng.choice(ATTRIBUTES[attribute])
            traits = {attribute: value}
        noun = PLURALS.get(traits.get("shape", ""), self.rng.choice(tuple(_NOUNS.values())))
        counted = " ".join([*([traits["colour"]] if "colour" in traits else []), noun])
        where = self.rng.choice(("there", "in the picture", "there in the picture"))
        return self._question(f"how many {counted} are {where}", _NUMBERS[len(matching(traits, scene))])

    def _presence(self, scene: Scene) -> Question:
        """Half of the answers are no; the traits asked for then differ from a thing's in one."""
        thing = self.rng.choice(scene.things)
        names = self.rng.choice(_subsets(tuple(ATTRIBUTES)))
        traits: Traits = {name: thing.value(name) for name in names}
        if self.rng.random() < 0.5:
            traits = self._absent(scene, traits)
        answer = "yes" if matching(traits, scene) else "no"
        where = self.rng.choice(("", " in the picture"))
        return self._question(f"is there {self._noun(traits, article=True)}{where}", answer)

    def _absent(self, scene: Scene, traits: Traits) -> Traits:
        """Traits that no thing has, one of them changed; as they were where chance finds none."""
        for _ in range(8):
            name = self.rng.choice(tuple(traits))
            # the other thing's value, half of the time: only binding tells then
            values = [thing.value(name) for thing in scene.things] if self.rng.random() < 0.5 else ATTRIBUTES[name]
            changed = {**traits, name: self.rng.choice(values)}
            if self._allowed(changed) and not matching(changed, scene):
                return changed
        return traits

    def _other(self, traits: Traits, name: str) -> str:
        """Another value of an attribute."""
        while True:
            value = self.rng.choice(ATTRIBUTES[name])
            if value != traits[name] and self._allowed({**traits, name: value}):
                return value

    def _allowed(self, traits: Traits) -> bool:
        return self.unseen or (traits.get("colour"), traits.get("shape")) not in UNSEEN_PAIRS

    def _telling(self, scene: Scene, thing: Thing, attribute: str) -> Traits | None:
        """Traits but the attribute that this thing alone has, by lot; none needed where it stands alone."""
        names = tuple(name for name in ATTRIBUTES if name != attribute)
        choices = [{name: thing.value(name) for name in subset} for subset in ((), *_subsets(names))]
        telling = [traits for traits in choices if len(matching(traits, scene)) == 1]
        return self.rng.choice(telling) if telling else None

    def _definite(self, traits: Traits) -> str:
        return f"the {self._noun(traits)}"

    def _noun(self, traits: Traits, *, article: bool = False) -> str:
        noun = traits.get("shape") or self.rng.choice(tuple(_NOUNS))
        phrase = " ".join([*(traits[name] for name in ("size", "colour") if name in traits), noun])
        return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}" if article else phrase

    def _question(self, words: str, answer: str) -> Question:
        mark = () if self.rng.random() < 0.15 else ("?",)
        return Question((*words.split(), *mark), answer)


def _subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All but the empty one."""
    return [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]
