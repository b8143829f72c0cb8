"""The words of a tokenized text: which tokens are pieces of each, and where it stands in the text as it was given."""

import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tokenizers import Encoding


@dataclass(frozen=True, slots=True)
class Word:
    """A word: `start` and `end` in the text as it was given, in characters, and the positions of its tokens."""

    text: str
    start: int
    end: int
    tokens: range


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text's ids `[CLS] ... [SEP]` and its words."""

    ids: tuple[int, ...]
    words: tuple[Word, ...]

    def foretold(self, first: int) -> "Spelled":
        """For a decoder: `first` and the ids without `[SEP]`, and each word at the positions that predict it."""
        words = [replace(word, tokens=range(word.tokens.start - 1, word.tokens.stop - 1)) for word in self.words]
        return Spelled((first, *self.ids[1:-1]), tuple(words))


def words_of(encoding: Encoding, length: int, read: str, given: str) -> tuple[Word, ...]:
    """The words, as BERT splits them, of the first `length` tokens, of which the last is `[SEP]`.

    `read`: the text that was tokenized: `given`, or what its clean-up left of it (lower case, and spaces in place of
    other characters). Words of punctuation alone are left out, unless there are no others.
    """
    origins = range(len(given)) if read == given else _origins(read, given)
    found = []
    for number, run in groupby(range(length - 1), lambda i: encoding.word_ids[i]):
        if number is not None:
            tokens = list(run)
            start, end = encoding.offsets[tokens[0]][0], encoding.offsets[tokens[-1]][1]
            first, last = origins[start], origins[end - 1] + 1
            found.append(Word(given[first:last], first, last, range(tokens[0], tokens[-1] + 1)))
    spoken = [word for word in found if not all(map(_is_punctuation, word.text))]
    return tuple(spoken or found)


def _origins(read: str, given: str) -> Sequence[int]:
    """For each character of `read`, its place in `given`: the clean-up drops characters, but moves none."""
    origins = (i for i, character in enumerate(given) for _ in character.lower())
    lowered = zip(origins, given.lower(), strict=True)  # as one text: a sigma at the end of a word has its own form
    places, place = [], 0
    for character in read:
        if not character.isspace():
            place = next(i for i, low in lowered if low == character)
        places.append(place)
    return places


def _is_punctuation(character: str) -> bool:
    """What BERT's tokenizer makes a word of its own."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")
