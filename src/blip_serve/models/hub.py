"""Finds a checkpoint's folder: a local one, or one of the hub's cache, brought there if need be. Imports no torch.

What comes from the hub is compared with the digests that the hub lists, once: the record of it is kept (`pulled.py`).
"""

import glob
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from tqdm.auto import tqdm

from blip_serve.errors import CheckpointError
from blip_serve.models.blobs import Blobs, Listed, list_files
from blip_serve.models.digests import deciding_files, tensor_digests
from blip_serve.models.files import INDEX, PICKLED, SAFETENSORS, SMALL_FILES, files_of, is_folder, weight_files
from blip_serve.models.pulled import Pulled, find_pulled, keep_pulled

Tell = Callable[[str], object]
"""Called with what somebody should know, though the checkpoint can be used."""


class NoBar(tqdm):  # type: ignore[type-arg]  # generic for the type checker alone
    """Instead of the client's bars when it links files that are there: those of the downloads are enough."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"disable": True})


def find_folder(source: str, revision: str | None, data: Path, tell: Tell) -> Path:
    """The folder of a checkpoint. `source`: a local folder, or a hub id, which is downloaded if it is not cached.

    A download is checked, and recorded below `data`; `tell` hears if it cannot be recorded. The hub's client follows
    `HF_HUB_OFFLINE` and `HF_HOME`. Where the hub cannot be asked, the cache is taken as it is. Raises
    `CheckpointError` saying what to do.
    """
    if is_folder(source):
        return Path(source).expanduser()
    if source.startswith(("/", ".", "~")) or source.count("/") != 1:
        raise CheckpointError(Path(source), "no such folder")
    at = f"{source} at revision {revision}" if revision else source
    try:
        commit = _commit(source, revision)
    except Exception as error:  # the hub's client also raises its transports' own exceptions
        folder = None if isinstance(error, RevisionNotFoundError) else cached_folder(source, revision)
        if folder is None:
            raise CheckpointError(at, _not_asked(error, source)) from None
        return folder
    folder = cached_folder(source, revision)
    if folder is not None and folder.name == commit and _is_recorded(data, source, folder):
        return folder
    try:
        return _download(source, revision, commit, data, tell)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(at, refused(error) or f"the download failed: {_reason(error)}") from None
    except Exception as error:  # as above
        raise CheckpointError(at, f"the download failed: {type(error).__name__}") from None


def cached_folder(repository: str, revision: str | None) -> Path | None:
    """The folder in the hub's cache, if it holds the small files that it should, and weights. Asks no network."""
    try:
        found = snapshot_download(
            repository, revision=revision, allow_patterns=list(SMALL_FILES), local_files_only=True
        )
        weight_files(Path(found))
    except (OSError, HFValidationError, CheckpointError):  # not there, or it may not be read
        return None
    return Path(found)


def cached_commits(repository: str) -> list[str]:
    """The commits of which the hub's cache holds files, complete or not."""
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "snapshots"
    with suppress(OSError):  # not there, or it may not be read
        return sorted(each.name for each in folder.iterdir())
    return []


def _commit(repository: str, revision: str | None) -> str:
    commit = HfApi().model_info(repository, revision=revision).sha
    if commit is None:
        raise OSError("the hub names no commit")
    return commit


def _is_recorded(data: Path, repository: str, folder: Path) -> bool:
    """Whether the folder's files were checked before. A record that cannot be read is as none, and written anew."""
    try:
        pulled = find_pulled(data, repository, folder.name)
    except CheckpointError:
        return False
    return pulled is not None and pulled.files.keys() == {file.name for file in deciding_files(folder)}


def _download(repository: str, revision: str | None, commit: str, data: Path, tell: Tell) -> Path:
    """Brings the small files, then the weights, and checks them all. Raises what the hub's client raises too."""
    listed = list_files(repository, commit)
    blobs = Blobs(repository, commit, listed)
    small = [name for name in listed if any(fnmatch(name, pattern) for pattern in SMALL_FILES)]
    folder = _link(repository, revision, commit, blobs, small)
    _link(repository, revision, commit, blobs, _weights(repository, folder, listed))
    files = {file.name: blobs.checked[file.name] for file in deciding_files(folder)}
    tensors = tensor_digests(folder)
    try:
        keep_pulled(data, Pulled(repository=repository, revision=revision, commit=commit, files=files, tensors=tensors))
    except OSError as error:
        tell(f"{repository}: checked, but that cannot be recorded in {data}: {_reason(error)}")
    return folder


def _link(repository: str, revision: str | None, commit: str, blobs: Blobs, names: Sequence[str]) -> Path:
    """Brings the files, and has the hub's client make its folder of them. Returns it."""
    blobs.bring(names)
    wanted = [glob.escape(name) for name in names]
    folder = Path(snapshot_download(repository, revision=revision, allow_patterns=wanted, tqdm_class=NoBar))
    if folder.name != commit:
        raise CheckpointError(repository, "changed on the hub meanwhile: pull it again")
    blobs.confirm(names)
    return folder


def _weights(repository: str, folder: Path, listed: Mapping[str, Listed]) -> list[str]:
    """The names of the files of weights: one, or those of the index in `folder`."""
    for name in (SAFETENSORS, PICKLED):
        if name in listed:
            return [name]
        if shards := [file.name for file in files_of(folder, name)]:
            if missing := [shard for shard in shards if shard not in listed]:
                raise CheckpointError(repository, f"holds no {missing[0]}, though {name}{INDEX} names it")
            return shards
    raise CheckpointError(repository, f"holds neither {SAFETENSORS} nor {PICKLED}")


def _not_asked(error: Exception, repository: str) -> str:
    """What to do where the hub could not be asked, and the cache does not hold the checkpoint."""
    return refused(error) or (
        f"not in the hub's cache, and the hub cannot be reached ({type(error).__name__}). "
        f"Where it can be, run `blip-serve pull {repository}` and bring the cache along (HF_HOME), "
        "or give the checkpoint's folder as the model's `source`"
    )


def refused(error: Exception) -> str | None:
    """What to do where the hub refused, if it did."""
    if isinstance(error, GatedRepoError):
        return "the hub asks to accept its terms: do so there, and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | HFValidationError):
        return "not a folder here, and not found on the hub (or private: set HF_TOKEN)"
    return None


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
