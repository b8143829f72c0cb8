"""From token ids to text, for whole texts and for texts that grow. Knows no tensors."""

from collections.abc import Sequence
from typing import NamedTuple

from blip_serve.domain import FinishReason
from blip_serve.models.word_pieces import WordPieces, cleaned

HELD_WORDS, HELD_WORDS_CLEANED = 1, 3
"""Words at the end of a growing text that the next word piece may still change. They are more if the tokenizer's files
ask for `clean_up_tokenization_spaces`, which joins contractions across words (`do n ' t` to `don't`)."""


class Word(NamedTuple):
    """A token's text: at the beginning of a text, and after other tokens."""

    first: str
    later: str


class Detokenizer:
    """From a checkpoint's ids to text, with the results of transformers' `decode(ids, skip_special_tokens=True)`.

    WordPiece's decoder joins the texts of single tokens, each independent of the others. So a text can grow by a token
    without decoding all of it again. The texts of tokens are cached; there are no more than the vocabulary has.
    """

    def __init__(self, pieces: WordPieces) -> None:
        self._backend, self._end, self._cleans = pieces.backend, pieces.end, pieces.cleans
        self._special = frozenset(id for id, token in self._backend.get_added_tokens_decoder().items() if token.special)
        self._words: dict[int, Word | None] = {}
        self._tokens: dict[tuple[int, bool], str] = {}
        self.held_words = HELD_WORDS_CLEANED if self._cleans else HELD_WORDS

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids. Ids that the tokenizer does not know add nothing."""
        return self.cleaned(self._backend.decode(list(ids), skip_special_tokens=True))

    def word(self, id: int) -> Word | None:
        """A token's text. `None` for a token that adds nothing: a special one, or one the tokenizer does not know."""
        if id not in self._words:
            self._words[id] = self._read(id)
        return self._words[id]

    def cleaned(self, words: str) -> str:
        """Joined words as the final text, cleaned up if the tokenizer asks for it."""
        return cleaned(words) if self._cleans else words

    def token(self, id: int, first: bool) -> str:
        """What one token adds to a text, or how it begins one if it is the `first`."""
        if (id, first) not in self._tokens:
            self._tokens[id, first] = self._shown(id, first)
        return self._tokens[id, first]

    def _read(self, id: int) -> Word | None:
        if id in self._special or self._backend.id_to_token(id) is None:
            return None
        return Word(self._spelled(id), self._spelled(self._end, id).removeprefix(self._spelled(self._end)))

    def _shown(self, id: int, first: bool) -> str:
        if first:
            return self.cleaned(self._spelled(id))
        return self.cleaned(self._spelled(self._end, id)).removeprefix(self._spelled(self._end))

    def _spelled(self, *ids: int) -> str:
        """The text of all ids, the special ones too."""
        return str(self._backend.decode(ids, skip_special_tokens=False))


class GrowingText:
    """The text of one sequence: where a stop string ends it, and how much of it is final.

    `whole`: the text with the stop string. `told`: how many characters of it `settled` has returned.
    """

    def __init__(self, detokenizer: Detokenizer, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._detokenizer = detokenizer
        self._stop = tuple(stop)
        self._words = ""
        self._begun = False
        self._searched = 0
        self.told = 0
        self.stopped = False
        self._add(prompt)
        self.text = self.whole
        self._prompt_length = len(self.text)

    def write(self, ids: Sequence[int]) -> None:
        """Appends `ids`, up to the first stop string after the prompt."""
        self._add(ids)
        found = [at for stop in self._stop if (at := self._find(stop)) >= 0]
        self._searched = self._unchanging()
        self.stopped = bool(found)
        self.text = self.whole[: min(found)] if found else self.whole

    def _add(self, ids: Sequence[int]) -> None:
        for word in filter(None, map(self._detokenizer.word, ids)):
            self._words += word.later if self._begun else word.first
            self._begun = True
        self.whole = self._detokenizer.cleaned(self._words)

    def _find(self, stop: str) -> int:
        """The index of the first `stop` after the prompt, or -1. Does not search again what was searched before."""
        return self.whole.find(stop, max(self._prompt_length, self._searched - len(stop) + 1))

    def settled(self, finished: FinishReason | None) -> str:
        """The text that became final since the last call; all the rest once the sequence is `finished`."""
        end = len(self.text) if finished else self._settled_length()
        new = self.text[self.told : end]
        self.told += len(new)
        return new

    def _settled_length(self) -> int:
        """The length before the words that may change, and before a possible beginning of a stop string."""
        end = self._unchanging()
        begins = [self._stop_begins(stop, known) for stop in self._stop for known in (end, len(self.text))]
        return min([end, *begins])

    def _unchanging(self) -> int:
        """The length of `whole` that the next word pieces cannot change."""
        end = len(self.whole)
        for _ in range(self._detokenizer.held_words):
            end = max(self.whole.rfind(" ", 0, end), 0)
        return end

    def _stop_begins(self, stop: str, known: int) -> int:
        """Where the beginning of a stop string starts that the first `known` characters end with; else `known`.

        It cannot start in text that was returned before, since that would have been held back.
        """
        first = max(self._prompt_length, self.told, known - len(stop) + 1)
        starts = (at for at in range(first, known) if stop.startswith(self.text[at:known]))
        return next(starts, known)
