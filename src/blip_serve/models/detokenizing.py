"""Token ids to text, whole and as it grows. Knows no tensors."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import BertTokenizer

from blip_serve.domain import FinishReason

HELD_WORDS, HELD_WORDS_CLEANED = 1, 3
"""Words at the end of a growing text that the next word piece may still change; more where the tokenizer's files ask
for `clean_up_tokenization_spaces`, which joins contractions across words (`do n ' t` to `don't`)."""


class Word(NamedTuple):
    """What a token reads as: at the beginning of a text, and behind others."""

    first: str
    later: str


class Detokenizer:
    """A checkpoint's way from ids back to text: that of transformers' `decode(ids, skip_special_tokens=True)`.

    WordPiece's decoder joins what each token reads as, and looks at no other token, so that a text grows by a token
    without being decoded anew. What tokens read as is kept: it is no larger than the vocabulary.
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(id for id, token in tokenizer.added_tokens_decoder.items() if token.special)
        self._words: dict[int, Word | None] = {}
        self._tokens: dict[tuple[int, bool], str] = {}
        self.held_words = HELD_WORDS_CLEANED if tokenizer.clean_up_tokenization_spaces else HELD_WORDS

    def text(self, ids: Sequence[int]) -> str:
        """The text of word ids; those the tokenizer does not know add nothing."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def word(self, id: int) -> Word | None:
        """What a token reads as; `None` for one that adds nothing: special, or unknown to the tokenizer."""
        if id not in self._words:
            self._words[id] = self._read(id)
        return self._words[id]

    def cleaned(self, words: str) -> str:
        """The text of words that were joined as they read."""
        if self._tokenizer.clean_up_tokenization_spaces:
            return str(self._tokenizer.clean_up_tokenization(words))
        return words

    def token(self, id: int, first: bool) -> str:
        """What one token adds to a text, or begins it with."""
        if (id, first) not in self._tokens:
            self._tokens[id, first] = self._shown(id, first)
        return self._tokens[id, first]

    def _read(self, id: int) -> Word | None:
        backend, end = self._tokenizer.backend_tokenizer, self._tokenizer.sep_token_id
        if id in self._special or backend.id_to_token(id) is None:
            return None
        before = backend.decode([end], skip_special_tokens=False)
        later = backend.decode([end, id], skip_special_tokens=False).removeprefix(before)
        return Word(backend.decode([id], skip_special_tokens=False), later)

    def _shown(self, id: int, first: bool) -> str:
        if first:
            return str(self._tokenizer.decode([id]))
        before = str(self._tokenizer.sep_token)
        return str(self._tokenizer.decode([self._tokenizer.sep_token_id, id])).removeprefix(before)


class GrowingText:
    """The text of one sequence: where a stop string ends it, and how much of it nothing can change any more.

    `whole`: the text with the stop string; `told`: how much of it `settled` has given.
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
        """The text goes on with `ids`, up to the first stop string in what is not the prompt."""
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
        """Where a stop string is first; none lies in what was searched, though one may reach beyond it."""
        return self.whole.find(stop, max(self._prompt_length, self._searched - len(stop) + 1))

    def settled(self, finished: FinishReason | None) -> str:
        """What has settled since the last call: all of it once it is finished."""
        end = len(self.text) if finished else self._settled_length()
        new = self.text[self.told : end]
        self.told += len(new)
        return new

    def _settled_length(self) -> int:
        """Up to the words that may change, and to where a stop string may begin: before those, or at the very end."""
        end = self._unchanging()
        begins = [self._stop_begins(stop, known) for stop in self._stop for known in (end, len(self.text))]
        return min([end, *begins])

    def _unchanging(self) -> int:
        """How much of the whole text the next word pieces cannot change."""
        end = len(self.whole)
        for _ in range(self._detokenizer.held_words):
            end = max(self.whole.rfind(" ", 0, end), 0)
        return end

    def _stop_begins(self, stop: str, known: int) -> int:
        """Where the first `known` characters end in the beginning of a stop string; `known` where they do not.

        What has been told is no such beginning: it would have been held.
        """
        first = max(self._prompt_length, self.told, known - len(stop) + 1)
        places = (at for at in range(first, known) if stop.startswith(self.text[at:known]))
        return next(places, known)
