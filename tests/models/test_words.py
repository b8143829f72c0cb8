"""Words of tokenized texts: their tokens, and their places in the text as it was given."""

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import Caption, ScoringProtocol
from blip_serve.models.config import read_config
from blip_serve.models.tokenizing import CaptionTokenizer

FOLDER = EMBEDDED / "demo-retrieval"


@pytest.fixture(scope="module")
def tokenizer() -> CaptionTokenizer:
    return CaptionTokenizer(FOLDER, read_config(FOLDER).text)


PLACED: list[tuple[str, ScoringProtocol, list[str]]] = [
    ("A red  circle, and a star!", "hf", ["A", "red", "circle", "and", "a", "star"]),
    ("A red  circle... and a *star*!", "paper", ["A", "red", "circle", "and", "a", "star"]),
    ("  \u0130stanbul: a ring  ", "paper", ["\u0130stanbul", "a", "ring"]),  # lower case has two characters
    ("caf\u00e9 \U0001f388 star", "hf", ["caf\u00e9", "\U0001f388", "star"]),
    ("a blue-green ring", "hf", ["a", "blue", "green", "ring"]),
    ("!? ...", "hf", ["!", "?", ".", ".", "."]),
    ("\u4e00\u4e01 star", "paper", ["\u4e00", "\u4e01", "star"]),
]


@pytest.mark.parametrize(("text", "protocol", "words"), PLACED)
def test_words_stand_where_they_were_given(
    tokenizer: CaptionTokenizer, text: str, protocol: ScoringProtocol, words: list[str]
) -> None:
    spelled = tokenizer.spelled(Caption(text, "caption"), protocol)
    assert [word.text for word in spelled.words] == words
    assert [text[word.start : word.end] for word in spelled.words] == words
    assert [spelled.ids] == tokenizer.encode([Caption(text, "caption")], protocol)
    positions = [position for word in spelled.words for position in word.tokens]
    assert positions == sorted(set(positions))
    assert set(positions) <= set(range(1, len(spelled.ids) - 1))


def test_pieces_of_a_word_are_one_word(tokenizer: CaptionTokenizer) -> None:
    [word] = tokenizer.spelled(Caption("squares", "caption"), "hf").words
    ids = tokenizer.spelled(Caption("squares", "caption"), "hf").ids
    assert word.tokens == range(1, len(ids) - 1)


def test_the_paper_s_limits_cut_words_off(tokenizer: CaptionTokenizer) -> None:
    words = tokenizer.spelled(Caption(" ".join(["star"] * 40), "caption"), "paper").words
    assert len(words) == 30
    cut = tokenizer.spelled(Caption(" ".join(["zq" * 8] * 30), "caption"), "paper")
    assert max(word.tokens.stop for word in cut.words) <= len(cut.ids) - 1


def test_a_decoder_foretells_each_token_one_position_before(tokenizer: CaptionTokenizer) -> None:
    spelled = tokenizer.spelled(Caption("a red star", "caption"), "hf")
    foretold = spelled.foretold(9)
    assert foretold.ids == (9, *spelled.ids[1:-1])
    assert [word.tokens for word in foretold.words] == [range(0, 1), range(1, 2), range(2, 3)]
