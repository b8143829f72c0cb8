"""Texts as they grow: what is told of one is never taken back."""

import pytest
from transformers import BertTokenizer

from blip_serve.models.detokenizing import Detokenizer, GrowingText

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "do", "s", "'", "n", "t", "a", "dog", "##s", ".", ","]


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
    text = GrowingText(Detokenizer(tokenizer), (), (stop,))
    ids = [WORDS.index(word) for word in written.split()]
    told = ""
    for count in range(1, len(ids) + 1):
        text.write(ids[count - 1 : count])
        told += text.settled("stop" if text.stopped or count == len(ids) else None)
        if text.stopped:
            break
    assert told == text.text
