"""A checkpoint's WordPiece tokenizer: what transformers' `BertTokenizer` makes of the same files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from blip_serve.errors import CheckpointError
from blip_serve.lazily import imported
from blip_serve.models.files import read_json

TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
"""The special tokens that BERT has, by their keys in the files."""
FLAGS = {
    "do_lower_case": True,
    "tokenize_chinese_chars": True,
    "strip_accents": None,
    "clean_up_tokenization_spaces": False,
}
"""What the files may say of the words, and what holds if they do not."""
SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""What a clean-up writes without spaces, in its order."""
UNUSED = {
    *("tokenizer_class", "processor_class", "backend", "name_or_path", "is_local", "local_files_only"),
    *("special_tokens_map_file", "do_basic_tokenize", "never_split", "model_max_length", "model_input_names"),
}
"""Keys of `tokenizer_config.json` that change nothing here."""


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The tokenizer with the ids of `[UNK]` and `[SEP]`. `cleans`: whether texts are cleaned up (`cleaned`)."""

    backend: Tokenizer
    unknown: int
    end: int
    cleans: bool

    @classmethod
    def of(cls, tokenizer: Any) -> Self:
        """Those of transformers' tokenizer."""
        return cls(
            tokenizer.backend_tokenizer,
            int(tokenizer.unk_token_id),
            int(tokenizer.sep_token_id),
            bool(tokenizer.clean_up_tokenization_spaces),
        )


def read_word_pieces(folder: Path) -> WordPieces:
    """The folder's tokenizer. Raises `CheckpointError` if it is not readable.

    The usual files are read here, since transformers takes two seconds to import; all others are by transformers.
    """
    try:
        return _usual(folder) or WordPieces.of(
            imported("transformers:BertTokenizer").from_pretrained(folder, local_files_only=True)
        )
    except Exception as error:  # tokenizers raises a bare Exception for a damaged file
        raise CheckpointError(folder, f"tokenizer not readable: {' '.join(str(error).split())}") from None


def _usual(folder: Path) -> WordPieces | None:
    """The tokenizer of files of which all that counts is known here, or `None`."""
    file = folder / "tokenizer.json"
    try:
        options = _options(folder)
        content = read_json(file) if file.exists() else None
    except CheckpointError:
        return None
    if options is None or (folder / "added_tokens.json").exists():
        return None
    unknown = options["unk_token"]
    if content is None:
        words, added = WordPiece.from_file(str(folder / "vocab.txt"), unk_token=unknown), []
    elif content["model"].get("type") == "WordPiece":
        Tokenizer.from_str(json.dumps(content | {"model": content["model"] | {"vocab": {}}, "added_tokens": []}))
        words, added = WordPiece(content["model"]["vocab"], unk_token=unknown), content["added_tokens"]
    else:
        return None
    backend = Tokenizer(words)
    named = [options[name] for name in TOKENS]
    ids: dict[str, Any] = {token: backend.token_to_id(token) for token in named}
    if None in ids.values() or any(backend.token_to_id(token["content"]) != token["id"] for token in added):
        return None
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options["tokenize_chinese_chars"],
        strip_accents=options["strip_accents"],
        lowercase=options["do_lower_case"],
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.add_tokens([_added(token, named) for token in sorted(added, key=itemgetter("id"))])
    listed = {token["content"] for token in added}
    backend.add_tokens([AddedToken(token, special=True) for token in named if token not in listed])
    first, end = options["cls_token"], options["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {end}:0",
        pair=f"{first}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(token, ids[token]) for token in (first, end)],
    )
    return WordPieces(backend, ids[unknown], ids[end], options["clean_up_tokenization_spaces"])


def _options(folder: Path) -> dict[str, Any] | None:
    """What `tokenizer_config.json` and `special_tokens_map.json` say, or `None` if that is more than is known here."""
    options: dict[str, Any] = TOKENS | FLAGS
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).exists():
            options |= read_json(folder / name)
    flags_known = all(type(options[name]) is bool or options[name] is FLAGS[name] for name in FLAGS)
    tokens_known = all(type(options[name]) is str for name in TOKENS)
    known = flags_known and tokens_known and options.keys() <= TOKENS.keys() | FLAGS.keys() | UNUSED
    return options if known else None


def _added(token: Mapping[str, Any], named: Sequence[str]) -> AddedToken:
    """A token of `tokenizer.json`; BERT's own are special, whatever the file says."""
    settings = {key: value for key, value in token.items() if key != "id"}
    return AddedToken(**settings | {"special": token["special"] or token["content"] in named})


def cleaned(text: str) -> str:
    """A text without the spaces in front of punctuation and contractions (transformers' `clean_up_tokenization`)."""
    for spaced in SPACED:
        text = text.replace(spaced, spaced.strip(" "))
    return text
