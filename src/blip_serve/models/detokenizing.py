"""Token ids to text, whole and as it grows. Knows no tensors."""

from collections.abc import Sequence

from transformers import BertTokenizer

from blip_serve.domain import FinishReason

HELD_WORDS, HELD_WORDS_CLEANED = 1, 3
"""Words at the end of a growing text that the next word piece may still change; more where the tokenizer's files ask
for `clean_up_tokenization_spaces`, which joins contractions across words (`do n ' t` to `don't`)."""


class Detokenizer:
    """A checkpoint's way from ids back to text: that of transformers' `decode(ids, skip_special_tokens=True)`."""

    def __init__(self, tokenizer: BertTokenizer) -> None:
        self._tokenizer = tokenizer
        self.held_words = HELD_WORDS_CLEANED if tokenizer.clean_up_tokenization_spaces else HELD_WORDS

    def text(self, ids: Sequence[int]) -> str:
        """The text of word ids; those the tokenizer does not know add nothing."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def token(self, id: int, first: bool) -> str:
        """What one token adds to a text, or begins it with."""
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
        self._prompt = tuple(prompt)
        self._stop = tuple(stop)
        self.told = 0
        self.whole = self.text = detokenizer.text(prompt)
        self._prompt_length = len(self.text)
        self.stopped = False

    def write(self, ids: Sequence[int]) -> None:
        """The text is now that of the prompt and `ids`, up to the first stop string in what was generated."""
        text = self._detokenizer.text([*self._prompt, *ids])
        self.whole = text
        found = [at for stop in self._stop if (at := text.find(stop, self._prompt_length)) >= 0]
        self.stopped = bool(found)
        self.text = text[: min(found)] if found else text

    def settled(self, finished: FinishReason | None) -> str:
        """What has settled since the last call: all of it once it is finished."""
        end = len(self.text) if finished else self._settled_length()
        new = self.text[self.told : end]
        self.told += len(new)
        return new

    def _settled_length(self) -> int:
        """Up to the words that may change, and to where a stop string may begin: before those, or at the very end."""
        end = len(self.text)
        for _ in range(self._detokenizer.held_words):
            end = max(self.text.rfind(" ", 0, end), 0)
        begins = [self._stop_begins(stop, known) for stop in self._stop for known in (end, len(self.text))]
        return min([end, *begins])

    def _stop_begins(self, stop: str, known: int) -> int:
        """Where the first `known` characters end in the beginning of a stop string; `known` where they do not."""
        first = max(self._prompt_length, known - len(stop) + 1)
        places = (at for at in range(first, known) if stop.startswith(self.text[at:known]))
        return next(places, known)
