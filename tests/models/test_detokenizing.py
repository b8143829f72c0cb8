"""Texts as they grow: they read as if decoded whole, and what is told of one is never taken back."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import GenerationOptions, TokenLogprob
from blip_serve.models.detokenizing import Detokenizer, GrowingText, Word
from blip_serve.models.sequences import Chosen, Sample, Vocabulary
from blip_serve.models.word_pieces import WordPieces

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "do", "s", "'", "n", "t", "a", "dog", "##s", ".", ","]
AWKWARD = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "do", "n", "'", "t", "s", "m", "ve", "re", ".", "?", "!"],
    *[",", "a", "##s", "##'", "##t", "##", "", "n't", "'s", "##.", "not", "?!", "\u00e9", "##\u4e2d"],
]
"""Words that the clean-up joins, pieces without letters, and one that is empty."""
END = 3


def awkward(clean_up: bool) -> BertTokenizer:
    tokenizer = BertTokenizer(vocab={word: id for id, word in enumerate(AWKWARD)}, bos_token="[DEC]")
    tokenizer.clean_up_tokenization_spaces = clean_up
    return tokenizer


TOKENIZERS = [awkward(False), awkward(True), BertTokenizer.from_pretrained(EMBEDDED / "demo-captioning")]


def ids_of(tokenizer: BertTokenizer) -> st.SearchStrategy[list[int]]:
    """Of all tokens, the special ones, and some that it does not know."""
    return st.lists(st.integers(0, len(tokenizer) + 3), max_size=40)


def read(tokenizer: BertTokenizer, ids: Sequence[int]) -> str:
    """All of it, as transformers does it."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_a_text_that_grows_reads_as_if_it_were_decoded_whole(tokenizer: BertTokenizer, data: st.DataObject) -> None:
    prompt, ids = data.draw(ids_of(tokenizer)), data.draw(ids_of(tokenizer))
    whole = read(tokenizer, [*prompt, *ids])
    parts = st.integers(0, len(whole)).flatmap(lambda at: st.integers(1, 8).map(lambda size: whole[at : at + size]))
    stops = [stop for stop in data.draw(st.lists(parts, max_size=3)) if stop]
    check_grows(tokenizer, prompt, ids, stops)


def check_grows(tokenizer: BertTokenizer, prompt: Sequence[int], ids: Sequence[int], stops: Sequence[str]) -> None:
    """Against the text decoded anew for each token."""
    text = GrowingText(Detokenizer(WordPieces.of(tokenizer)), prompt, stops)
    begin, told = len(read(tokenizer, prompt)), ""
    for count in range(1, len(ids) + 1):
        text.write(ids[count - 1 : count])
        whole = read(tokenizer, [*prompt, *ids[:count]])
        found = [at for stop in stops if (at := whole.find(stop, begin)) >= 0]
        assert (text.whole, text.text) == (whole, whole[: min(found, default=None)])
        assert text.stopped == bool(found)
        told += text.settled("stop" if found or count == len(ids) else None)
        assert text.text.startswith(told)
        if found:
            break
    assert told == (text.text if ids else "")


@given(ids=ids_of(TOKENIZERS[1]), stops=st.lists(st.sampled_from([" a", "'", "t a", "."]), max_size=1))
@example(ids=[AWKWARD.index(word) for word in ["do", "n", "'", "t", "a", "a", "a", "a"]], stops=[])
@settings(deadline=None)
def test_the_log_probabilities_of_pieces_are_those_of_the_whole_text(ids: list[int], stops: list[str]) -> None:
    options = GenerationOptions(max_tokens=len(ids) + 1, stop=tuple(stops), top_logprobs=1)
    vocabulary = Vocabulary(5, END, Detokenizer(WordPieces.of(TOKENIZERS[1])))
    sample = Sample(vocabulary, (5,), options, (0,), stream=True)
    told: list[TokenLogprob] = []
    text = ""
    for place, id in enumerate([*ids, END]):
        sample.advance(Chosen(id, -place, ((id, -place),)))
        for piece in sample.pieces():
            text += piece.text
            told += piece.logprobs or ()
        if sample.ended:
            break
    [(_, result)] = sample.results()
    assert (text, tuple(told)) == (result.text, result.logprobs)
    if not stops:
        assert [logprob.logprob for logprob in told] == [-place for place, _ in enumerate(told)]
        assert len(told) == sample.generated - 1


class Counting(Detokenizer):
    """Keeps the tokens it reads."""

    def __init__(self, pieces: WordPieces) -> None:
        super().__init__(pieces)
        self.read: list[int] = []

    def word(self, id: int) -> Word | None:
        self.read.append(id)
        return super().word(id)


def test_a_token_is_read_once_however_long_the_text_is() -> None:
    detokenizer = Counting(WordPieces.of(TOKENIZERS[1]))
    vocabulary = Vocabulary(5, END, detokenizer)
    sample = Sample(
        vocabulary, (5, 14), GenerationOptions(max_tokens=9, stop=("x",), top_logprobs=1), (0,), stream=True
    )
    for id in (18, 6, 7, 8, 9, 18, END):
        sample.advance(Chosen(id))
        sample.pieces()
    assert detokenizer.read == [14, 18, 6, 7, 8, 9, 18]


@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize(
    ("written", "stop"),
    [
        ("do s s ' s", "o s s'"),
        ("a do n ' t a", "o n't"),
        ("a do n ' t a", "a don't"),
        ("a dog ##s . dog", "s. d"),
        ("a dog ##s , a", "s,"),
        ("dog a dog a dog , a", "g a dog,"),
    ],
)
def test_pieces_join_to_the_text_where_a_stop_string_spans_words(written: str, stop: str, clean_up: bool) -> None:
    tokenizer = BertTokenizer(vocab={word: id for id, word in enumerate(WORDS)})
    tokenizer.clean_up_tokenization_spaces = clean_up
    text = GrowingText(Detokenizer(WordPieces.of(tokenizer)), (), (stop,))
    ids = [WORDS.index(word) for word in written.split()]
    told = ""
    for count in range(1, len(ids) + 1):
        text.write(ids[count - 1 : count])
        told += text.settled("stop" if text.stopped or count == len(ids) else None)
        if text.stopped:
            break
    assert told == text.text
