"""The words of a checkpoint's tokenizer and their ids, read from its files alone."""

from collections.abc import Mapping
from pathlib import Path

from blip_serve.errors import CheckpointError
from blip_serve.models.files import read_json, read_text


def read_words(folder: Path) -> tuple[Path, Mapping[str, int]]:
    """The file that decides, as transformers chooses it, and the words in it. Raises `CheckpointError`."""
    file = folder / "tokenizer.json"
    if file.exists():
        return file, _of_json(file)
    file = folder / "vocab.txt"
    words = _of_text(file)
    more = folder / "added_tokens.json"
    return file, words | (_numbers(more, read_json(more)) if more.exists() else {})


def _of_json(file: Path) -> dict[str, int]:
    content = read_json(file)
    model, added = content.get("model"), content.get("added_tokens", [])
    words = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(words, dict) or not isinstance(added, list):
        raise CheckpointError(file, "model.vocab: must give an id for each word")
    more = {str(each.get("content")): each.get("id") for each in added if isinstance(each, dict)}
    return _numbers(file, words | more)


def _of_text(file: Path) -> dict[str, int]:
    try:
        lines = read_text(file).split("\n")
    except ValueError:
        raise CheckpointError(file, "not UTF-8") from None
    return {line.rstrip(): number for number, line in enumerate(lines) if line.rstrip()}


def _numbers(file: Path, words: Mapping[str, object]) -> dict[str, int]:
    numbers = {word: number for word, number in words.items() if isinstance(number, int)}
    if len(numbers) < len(words):
        raise CheckpointError(file, "an id is no number")
    return numbers
