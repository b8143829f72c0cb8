"""Finds a checkpoint's files: in a folder, or in the hub's cache. Reads no weights, imports no torch."""

import glob
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from blip_serve.errors import CheckpointError

SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"
"""Ending of the name of the file that says in which shard each weight is."""
SMALL_FILES = ("*.json", "vocab.txt")


def find_folder(source: str, revision: str | None) -> Path:
    """The folder of a checkpoint. `source`: a local folder, or a hub id, which is downloaded if it is not cached.

    The hub's client follows `HF_HUB_OFFLINE` and `HF_HOME`. Raises `CheckpointError` saying what to do.
    """
    if is_folder(source):
        return Path(source).expanduser()
    if source.startswith(("/", ".", "~")) or source.count("/") != 1:
        raise CheckpointError(Path(source), "no such folder")
    return _download(source, revision)


def is_folder(source: str) -> bool:
    """Whether `source` is a local folder."""
    return Path(source).expanduser().is_dir()


def is_cached(source: str, revision: str | None) -> bool:
    """Whether a hub id's weights are in the hub's cache."""
    try:
        found = try_to_load_from_cache(source, "config.json", revision=revision)
        return isinstance(found, str) and bool(weight_files(Path(found).parent))
    except (HFValidationError, CheckpointError):
        return False


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights, chosen as transformers does: one file, or the shards that an index names.

    Raises `CheckpointError` if there is neither, a shard is missing, or the index is wrong.
    """
    for name in (SAFETENSORS, PICKLED):
        if files := _files_of(folder, name):
            if missing := _missing(files):
                raise CheckpointError(missing[0], f"not there, though {name}{INDEX} names it")
            return files
    raise CheckpointError(folder, f"holds neither {SAFETENSORS} nor {PICKLED}")


def _files_of(folder: Path, name: str) -> list[Path]:
    """The file of that name, or the shards that its index names, even if they are missing. Empty without both."""
    whole, index = folder / name, folder / f"{name}{INDEX}"
    if whole.exists():
        return [whole]
    return _shards(index) if index.exists() else []


def _missing(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if not file.exists()]


def _shards(index: Path) -> list[Path]:
    """The files that an index names. Raises `CheckpointError` if it is wrong, or names a file in another folder."""
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(index, "weight_map: must name a file for each weight")
    for shard in shards.values():
        if not isinstance(shard, str) or not _is_name(shard):
            raise CheckpointError(index, f"weight_map: {shard!r} is not the name of a file beside it")
    return [index.with_name(shard) for shard in sorted(set(shards.values()))]


def _is_name(name: str) -> bool:
    """Whether it is a plain file name, not a path to elsewhere."""
    return name not in ("", "..") and name == PurePath(name).name and name.isprintable()


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `CheckpointError` naming the file and the reason."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unambiguous)
    except OSError as error:
        raise CheckpointError(file, error.strerror or "not readable") from None
    except ValueError as error:
        raise CheckpointError(file, f"not JSON: {error}") from None
    except RecursionError:
        raise CheckpointError(file, "not JSON that can be read: nested too deep") from None
    if not isinstance(content, dict):
        raise CheckpointError(file, "not a JSON object")
    return content


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` if it has a key twice, since readers differ in which one they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"{names.most_common(1)[0][0]!r} stands there twice")
    return found


def _download(repository: str, revision: str | None) -> Path:
    at = f"{repository} at revision {revision}" if revision else repository
    try:
        folder = _snapshot(repository, revision)
    except CheckpointError:
        raise
    except GatedRepoError:
        raise CheckpointError(at, "the hub asks to accept its terms: do so there, and set HF_TOKEN") from None
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        raise CheckpointError(at, "not a folder here, and not found on the hub (or private: set HF_TOKEN)") from None
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            at,
            f"not in the hub's cache, and the hub cannot be reached ({type(error).__name__}). "
            f"Where it can be, run `hf download {repository}` and bring the cache along (HF_HOME), "
            "or give the checkpoint's folder as the model's `source`",
        ) from None
    except OSError as error:
        raise CheckpointError(at, f"the download failed: {error.strerror or type(error).__name__}") from None
    except Exception as error:  # the hub's client also raises its transports' own exceptions
        raise CheckpointError(at, f"the download failed: {type(error).__name__}") from None
    if folder is None:
        raise CheckpointError(at, f"holds neither {SAFETENSORS} nor {PICKLED}")
    return folder


def _snapshot(repository: str, revision: str | None) -> Path | None:
    """The folder with the small files and the weights. `None` if the repository has no weights."""
    incomplete: IncompleteSnapshotError | None = None
    for name in (SAFETENSORS, PICKLED):
        try:
            folder = _fetch(repository, revision, name)
            _fetch(repository, revision, *(glob.escape(file.name) for file in _files_of(folder, name)))
        except IncompleteSnapshotError as error:  # offline: the cache may hold either kind of weights
            folder, incomplete = Path(error.snapshot_path), error
        files = _files_of(folder, name)
        if files and not _missing(files):
            return folder
        if files and incomplete is None:
            raise CheckpointError(repository, f"holds no {_missing(files)[0].name}, though {name}{INDEX} names it")
    if incomplete is not None:
        raise incomplete
    return None


def _fetch(repository: str, revision: str | None, *patterns: str) -> Path:
    """Downloads a repository's small files and those of `patterns`. Returns their folder."""
    return Path(snapshot_download(repository, revision=revision, allow_patterns=[*SMALL_FILES, *patterns]))
