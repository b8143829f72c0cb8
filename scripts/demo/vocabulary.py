"""The vocabulary: which word has which id, laid out as in BLIP's own checkpoints."""

from __future__ import annotations

import string

from demo.captions import FOREIGN_COLOURS, FOREIGN_SHAPES, OPENINGS, OTHER_WORDS, PLURALS
from demo.world import COLOURS, SHAPES, SIZES

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LAST = ("[DEC]", "[ENC]")  # BLIP appends these two to BERT's vocabulary


def _vocabulary() -> tuple[str, ...]:
    """Specials, the world's words, then characters and pieces, so that any ASCII word can be spelt."""
    characters = string.ascii_lowercase + string.digits
    openings = [word for opening in OPENINGS for word in opening]
    words = [
        *("a", "an", "and", "with", "two", "one", "the", "photo", "on", "in", "."),
        *(*openings, *SIZES, *OTHER_WORDS.values(), *COLOURS, *SHAPES, *PLURALS.values()),
        *(*FOREIGN_COLOURS, *FOREIGN_SHAPES),
        *(*characters, *(f"##{character}" for character in characters), *string.punctuation),
    ]
    return (*SPECIAL, *dict.fromkeys(words), *LAST)


VOCABULARY = _vocabulary()
IDS = {word: number for number, word in enumerate(VOCABULARY)}
PAD, CLS, SEP = IDS["[PAD]"], IDS["[CLS]"], IDS["[SEP]"]
DEC, ENC = IDS["[DEC]"], IDS["[ENC]"]


def caption_ids(words: tuple[str, ...]) -> list[int]:
    """The ids of a caption of whole words between [CLS] and [SEP]."""
    return [CLS, *(IDS[word] for word in words), SEP]
