"""Whether a text is true of a scene: reads texts of the demo's language back into what they name. Knows no model."""

from demo.captions import FOREIGN_COLOURS, FOREIGN_SHAPES, OPENINGS, OTHER_WORDS, PLURALS, Mention, is_true
from demo.world import COLOURS, SHAPES, SIZES, Scene

JOINTS = ("and", "with")
FULL_STOP = "."
_SIZES = {size: size for size in SIZES} | {other: size for size, other in OTHER_WORDS.items()}
_NOUNS = {shape: PLURALS.get(shape, shape) for shape in (*SHAPES, *FOREIGN_SHAPES)}
_SINGULAR = {plural: noun for noun, plural in _NOUNS.items()}


def mentions_of(text: str) -> tuple[Mention, ...] | None:
    """What a text names; `None` for a text that is not of the language, such as one that breaks off."""
    words = text.removesuffix(FULL_STOP).split()
    for opening in OPENINGS:
        if tuple(words[: len(opening)]) == opening:
            words = words[len(opening) :]
            break
    found: list[Mention] = []
    for phrase in _phrases(words):
        mentions = _named(phrase)
        if mentions is None:
            return None
        found += mentions
    return tuple(found)


def true_of(text: str, scene: Scene) -> bool:
    """Whether each thing that the text names is there. A text that is not of the language is not true."""
    mentions = mentions_of(text)
    if not mentions or len(mentions) > len(scene.things):
        return False
    return is_true(mentions, scene)


def _phrases(words: list[str]) -> list[list[str]]:
    phrases: list[list[str]] = [[]]
    for word in words:
        if word in JOINTS:
            phrases.append([])
        else:
            phrases[-1].append(word)
    return phrases


def _named(phrase: list[str]) -> list[Mention] | None:
    """One thing, or two that are the same: an article or "two", a size and a colour or less, a noun."""
    if len(phrase) < 2 or phrase[0] not in ("a", "an", "two"):
        return None
    count, *adjectives, noun = phrase
    shape = (_SINGULAR if count == "two" else dict.fromkeys(_NOUNS) | {each: each for each in _NOUNS}).get(noun)
    size = _SIZES[adjectives.pop(0)] if adjectives and adjectives[0] in _SIZES else None
    colour = adjectives.pop(0) if adjectives and adjectives[0] in (*COLOURS, *FOREIGN_COLOURS) else None
    if shape is None or adjectives:
        return None
    return [Mention(size, colour, shape)] * (2 if count == "two" else 1)
