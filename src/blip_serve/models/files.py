"""Where a checkpoint's files are: a folder, or the hub's cache. Reads no weights, imports no torch."""

import json
from pathlib import Path
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
SMALL_FILES = ("*.json", "vocab.txt")


def find_folder(source: str, revision: str | None) -> Path:
    """The folder of a checkpoint: `source` is a local folder or a hub id, downloaded into the hub's cache if need be.

    `HF_HUB_OFFLINE` and `HF_HOME` are honoured by the hub's client. Raises `CheckpointError` saying what to do.
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
        found = [try_to_load_from_cache(source, name, revision=revision) for name in (SAFETENSORS, PICKLED)]
    except HFValidationError:
        return False
    return any(isinstance(file, str) for file in found)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `CheckpointError` naming the file and the reason."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(file, error.strerror or "not readable") from None
    except ValueError as error:
        raise CheckpointError(file, f"not JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(file, "not a JSON object")
    return content


def _download(repository: str, revision: str | None) -> Path:
    at = f"{repository} at revision {revision}" if revision else repository
    try:
        folder = _snapshot(repository, revision)
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
    except Exception as error:  # the hub's client raises those of its transports
        raise CheckpointError(at, f"the download failed: {type(error).__name__}") from None
    if folder is None:
        raise CheckpointError(at, f"holds neither {SAFETENSORS} nor {PICKLED}")
    return folder


def _snapshot(repository: str, revision: str | None) -> Path | None:
    """The folder with the small files and the weights, or `None` where the repository has no weights."""
    incomplete: IncompleteSnapshotError | None = None
    for weights in (SAFETENSORS, PICKLED):
        try:
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=[*SMALL_FILES, weights]))
        except IncompleteSnapshotError as error:  # without the hub; the cache may hold these weights or the others
            folder, incomplete = Path(error.snapshot_path), error
        if (folder / weights).exists():
            return folder
    if incomplete is not None:
        raise incomplete
    return None
