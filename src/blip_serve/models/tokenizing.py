"""A checkpoint's own tokenizer: from captions, questions and answers to ids. Runs on worker threads."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from blip_serve.domain import Caption, ScoringProtocol
from blip_serve.errors import CheckpointError, InvalidInput
from blip_serve.models.config import TextConfig
from blip_serve.models.detokenizing import Detokenizer
from blip_serve.models.files import read_json
from blip_serve.models.word_pieces import read_word_pieces
from blip_serve.models.words import Spelled, words_of

PAPER_TOKENS = 35
"""Length of a caption or question in salesforce/BLIP:train_retrieval.py and models/blip_vqa.py."""
CAPTION_WORDS, QUESTION_WORDS = 30, 50
"""Words kept by salesforce/BLIP:data/utils.py, pre_caption and pre_question."""
PUNCTUATION = re.compile(r"([.!\"()*#:;~])")


class CaptionTokenizer:
    """From texts to ids, by either scoring protocol. `detokenizer` is the way back."""

    def __init__(self, folder: Path, config: TextConfig) -> None:
        """`config`: has the model's number of positions, and its number of ids. The last id is `[ENC]`.

        Raises `CheckpointError` if the folder has no tokenizer, or one that does not fit the configuration.
        """
        vocabulary = config.vocab_size
        if not any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt")):
            raise CheckpointError(folder, "holds neither tokenizer.json nor vocab.txt")
        pieces = read_word_pieces(folder)
        _check_vocabulary(folder)
        self._backend = pieces.backend
        if (size := self._backend.get_vocab_size()) > vocabulary:
            raise CheckpointError(folder, f"the tokenizer has {size} words, config.json says {vocabulary}")
        self.detokenizer = Detokenizer(pieces)
        self.unknown_id = pieces.unknown
        self._backend.no_truncation()
        self._backend.no_padding()
        self.positions = config.max_position_embeddings
        self.encoder_id = vocabulary - 1

    def encode(self, captions: Sequence[Caption], protocol: ScoringProtocol) -> list[tuple[int, ...]]:
        """Ids `[CLS] ... [SEP]` of each caption, unpadded. Raises `InvalidInput` for one that is blank or too long."""
        if protocol == "paper":
            return [self._cut(row) for row in self._ids([_clean_caption(caption) for caption in captions])]
        ids = self._ids([caption.text for caption in captions])
        for caption, row in zip(captions, ids, strict=True):
            self._check(row, caption)
        return ids

    def spelled(self, caption: Caption, protocol: ScoringProtocol) -> Spelled:
        """A caption's ids, as `encode` gives them, with the words they are pieces of. Raises as `encode`."""
        text = _clean_caption(caption) if protocol == "paper" else caption.text
        encoding = self._backend.encode(text)
        [ids] = self.encode([caption], protocol)
        return Spelled(ids, words_of(encoding, len(ids), text, caption.text))

    def question(self, question: Caption, protocol: ScoringProtocol) -> tuple[int, ...]:
        """Ids `[CLS] ... [SEP]` of a question. `paper` has `[ENC]` first (salesforce/BLIP:models/blip_vqa.py).

        Raises `InvalidInput` like `encode`.
        """
        if protocol == "paper":
            ids = self._cut(self._ids([_clean_question(question)])[0])
            return (self.encoder_id, *ids[1:])
        ids = self._ids([question.text])[0]
        self._check(ids, question)
        return ids

    def words(self, texts: Sequence[Caption]) -> list[tuple[int, ...]]:
        """Ids of texts for a decoder, without `[CLS]` and `[SEP]`. Raises `InvalidInput` if one is too long."""
        ids = self._ids([text.text for text in texts])
        for text, row in zip(texts, ids, strict=True):
            self._check(row, text)
        return [row[1:-1] for row in ids]

    def _ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [tuple(encoding.ids) for encoding in self._backend.encode_batch(list(texts))]

    def _cut(self, row: tuple[int, ...]) -> tuple[int, ...]:
        limit = min(PAPER_TOKENS, self.positions)
        return (*row[: limit - 1], row[-1]) if len(row) > limit else row

    def _check(self, row: tuple[int, ...], text: Caption) -> None:
        if len(row) > self.positions:
            raise InvalidInput(
                f"The text has {len(row)} tokens; the model reads {self.positions}.",
                code="input_too_long",
                param=text.param,
            )


def _check_vocabulary(folder: Path) -> None:
    """Raises `CheckpointError` if a word has two ids or an id has two words, since one of them would be lost."""
    file = folder / "tokenizer.json"
    if file.exists():
        vocabulary = read_json(file)["model"]["vocab"]  # readable, since the tokenizer was made from it
        if not isinstance(vocabulary, dict):
            raise CheckpointError(file, "its vocabulary is not BERT's")
        entries = [f"the id {number}" for number in vocabulary.values()]
    else:
        file = folder / "vocab.txt"
        lines = map(str.rstrip, file.read_text(encoding="utf-8").split("\n"))
        entries = [repr(word) for word in lines if word]
    [(entry, count)] = Counter(entries).most_common(1) or [("", 0)]
    if count > 1:
        raise CheckpointError(file, f"{entry} stands in the vocabulary {count} times")


def _clean_caption(caption: Caption) -> str:
    """The clean-up of salesforce/BLIP:data/utils.py:pre_caption."""
    text = re.sub(r"\s{2,}", " ", PUNCTUATION.sub(" ", caption.text.lower())).rstrip("\n").strip(" ")
    return _limited(text, CAPTION_WORDS, caption)


def _clean_question(question: Caption) -> str:
    """The clean-up of salesforce/BLIP:data/utils.py:pre_question."""
    return _limited(PUNCTUATION.sub("", question.text.lower()).rstrip(" "), QUESTION_WORDS, question)


def _limited(text: str, words: int, given: Caption) -> str:
    if not text.strip():
        raise InvalidInput("The text has no words.", code="empty_input", param=given.param)
    return " ".join(text.split(" ")[:words])
