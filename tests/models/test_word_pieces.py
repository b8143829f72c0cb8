"""The tokenizer of a checkpoint's files is transformers', to the last setting."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizer

from blip_serve.catalogue import EMBEDDED
from blip_serve.models import word_pieces
from blip_serve.models.word_pieces import WordPieces, read_word_pieces
from tests.support.checkpoints import build

Change = Callable[[Path], object]
ADDED = {"id": 4, "single_word": False, "lstrip": False, "rstrip": True, "normalized": True, "special": False}


def edit(name: str, changes: Mapping[str, Any]) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | dict(changes)))

    return change


def saved_anew(folder: Path) -> None:
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)


def alone(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").unlink()


def added(folder: Path) -> None:
    saved_anew(folder)
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    [word] = [word for word, number in words.items() if number == 7]
    edit("tokenizer.json", {"added_tokens": [ADDED | {"id": 7, "content": word}, ADDED | {"content": "[MASK]"}]})(
        folder
    )


USUAL: dict[str, Change] = {
    "as it is": lambda folder: None,
    "the vocabulary alone": alone,
    "with tokenizer.json": saved_anew,
    "with tokens of its own": added,
    "with capitals": edit("tokenizer_config.json", {"do_lower_case": False, "strip_accents": True}),
    "cleaned": edit("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
    "another token": edit("special_tokens_map.json", {"unk_token": "[MASK]"}),
}
OTHER: dict[str, Change] = {
    "a key that is not known": edit("tokenizer_config.json", {"split_special_tokens": True}),
    "a token with settings": edit("special_tokens_map.json", {"unk_token": {"content": "[UNK]", "lstrip": True}}),
    "a beginning": edit("tokenizer_config.json", {"bos_token": "[CLS]"}),
    "a token without an id": edit("tokenizer_config.json", {"mask_token": "<mask>"}),
    "tokens beside": lambda folder: (folder / "added_tokens.json").write_text('{"[NEW]": 200}'),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sound"))


def test_the_embedded_checkpoints_tokenizer_is_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    check(EMBEDDED / "demo-retrieval", monkeypatch)


@pytest.mark.parametrize("change", USUAL.values(), ids=USUAL)
def test_usual_files_are_read_without_transformers(
    sound: Path, tmp_path: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(changed(sound, tmp_path, change), monkeypatch)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_all_other_files_are_read_by_transformers(sound: Path, tmp_path: Path, change: Change) -> None:
    folder = changed(sound, tmp_path, change)
    same(read_word_pieces(folder), WordPieces.of(BertTokenizer.from_pretrained(folder)))


def changed(sound: Path, tmp_path: Path, change: Change) -> Path:
    folder = shutil.copytree(sound, tmp_path / "checkpoint")
    change(folder)
    return Path(folder)


def check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = WordPieces.of(BertTokenizer.from_pretrained(folder))
    monkeypatch.delattr(word_pieces, "imported")
    same(read_word_pieces(folder), expected)


def same(found: WordPieces, expected: WordPieces) -> None:
    for pieces in (found, expected):
        pieces.backend.no_truncation()
        pieces.backend.no_padding()
    assert json.loads(found.backend.to_str()) == json.loads(expected.backend.to_str())
    assert (found.unknown, found.end, found.cleans) == (expected.unknown, expected.end, expected.cleans)
