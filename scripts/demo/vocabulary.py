"""The vocabularies: which word has which id, laid out as in BLIP's own checkpoints."""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cached_property

from demo.captions import FOREIGN_COLOURS, FOREIGN_SHAPES, OPENINGS, OTHER_WORDS, PLURALS
from demo.world import COLOURS, SHAPES, SIZES

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LAST = ("[DEC]", "[ENC]")  # BLIP appends these two to BERT's vocabulary


@dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their ids, `LAST` at the end."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def framed(self, words: tuple[str, ...]) -> list[int]:
        """The ids of whole words between [CLS] and [SEP]."""
        return [self.ids[word] for word in ("[CLS]", *words, "[SEP]")]

    def extended(self, words: tuple[str, ...]) -> Vocabulary:
        """With the words it lacks, before the last two; all others keep their ids."""
        return Vocabulary((*dict.fromkeys((*self.words[: -len(LAST)], *words)), *LAST))


def _captions() -> Vocabulary:
    """Specials, the world's words, then characters and pieces, so that any ASCII word can be spelt."""
    characters = string.ascii_lowercase + string.digits
    openings = [word for opening in OPENINGS for word in opening]
    words = [
        *("a", "an", "and", "with", "two", "one", "the", "photo", "on", "in", "."),
        *(*openings, *SIZES, *OTHER_WORDS.values(), *COLOURS, *SHAPES, *PLURALS.values()),
        *(*FOREIGN_COLOURS, *FOREIGN_SHAPES),
        *(*characters, *(f"##{character}" for character in characters), *string.punctuation),
    ]
    return Vocabulary((*SPECIAL, *dict.fromkeys(words), *LAST))


CAPTIONS = _captions()
