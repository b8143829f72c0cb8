"""The files of one repository in the hub's cache: brought, checked, removed. Goes on where a download stopped.

The hub's client begins an interrupted file anew, so the bytes are brought here; the client then links them.
"""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1, sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import HfApi, RepoFile, constants, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]  # both are lazy there

from blip_serve.durable import make_folder, sync_folder
from blip_serve.errors import CheckpointError
from blip_serve.models.room import check_room

DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
PIECE = 1 << 20
"""Bytes read at a time."""
MAX_FILES = 10_000
"""Names that a hub may list. A checkpoint has a dozen."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the hub lists it. `digest`: the SHA-256 of one in its large storage (`large`), otherwise git's id."""

    name: str
    size: int
    digest: str
    large: bool


def list_files(repository: str, commit: str) -> dict[str, Listed]:
    """The files of a repository by name, without those in folders and those whose names cannot be printed.

    Raises `CheckpointError` if there are too many, and what the hub's client raises.
    """
    found = list(islice(HfApi().list_repo_tree(repository, revision=commit), MAX_FILES + 1))
    if len(found) > MAX_FILES:
        raise CheckpointError(repository, f"the hub lists more than {MAX_FILES} files")
    files = [file for file in found if isinstance(file, RepoFile) and "/" not in file.path]
    return {file.path: _listed(file) for file in files if file.path.isprintable()}


def _listed(file: RepoFile) -> Listed:
    digest = file.blob_id if file.lfs is None else file.lfs.sha256
    if not DIGEST.fullmatch(digest):
        raise CheckpointError(file.path, f"the hub lists no digest of it but {digest!r}")
    return Listed(file.path, file.size, digest, file.lfs is not None)


class Bounded:
    """A file that takes up to `most` bytes, since a hub could send for ever. What the hub's client asks of a file."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most = stream, most
        self.seek, self.tell, self.truncate = stream.seek, stream.tell, stream.truncate

    def write(self, piece: bytes) -> int:
        """Raises `OSError` if that would be more."""
        if self._stream.tell() + len(piece) > self._most:
            raise OSError(errno.EFBIG, "the hub sends more than the size that it lists")
        return self._stream.write(piece)


class Blobs:
    """The files of a repository at a commit. `checked`: the SHA-256 of those that were compared with the hub's list."""

    def __init__(self, repository: str, commit: str, listed: Mapping[str, Listed]) -> None:
        self._repository, self._commit, self._listed = repository, commit, listed
        folder, cache = repo_folder_name(repo_id=repository, repo_type="model"), Path(constants.HF_HUB_CACHE)
        self._locks = cache / ".locks" / folder
        self._folder = cache / folder / "blobs"
        self._snapshot = cache / folder / "snapshots" / commit
        self.checked: dict[str, str] = {}

    def bring(self, names: Sequence[str]) -> None:
        """Brings those of these files that are not in the cache, and checks them all, each once.

        Raises `CheckpointError` if there is no room, or naming a file that is not the one that the hub lists (it is
        then removed), `OSError`, and what the hub's client raises.
        """
        files = [self._listed[name] for name in names]
        check_room(self._folder, sum(file.size - self._size(file) for file in files))
        for file in files:
            here = self._here(file) or self._receive(file)
            if file.name not in self.checked:
                self._check(file, here)

    def confirm(self, names: Sequence[str]) -> None:
        """Checks what the hub's client linked, where that is not a file which `bring` checked. Raises as `bring`."""
        for file in (self._listed[name] for name in names):
            link, blob = self._snapshot / file.name, self._folder / file.digest
            if not (blob.exists() and link.samefile(blob)):
                self._check(file, link)

    def _check(self, file: Listed, path: Path) -> None:
        found = file_id(path, file.large)
        if found != file.digest:
            here = self._folder.parent.resolve()
            for each in (path.resolve(), path, self._snapshot / file.name):
                if each.parent.resolve().is_relative_to(here):  # a link may lead to a file that is not the hub's
                    each.unlink(missing_ok=True)
            raise CheckpointError(
                f"{self._repository} at {self._commit}",
                f"{file.name} is not what the hub lists: its digest is {found}, there {file.digest}. "
                "It was removed from the cache; the next `blip-serve pull` brings it again",
            )
        self.checked[file.name] = found if file.large else file_id(path, large=True)

    def _receive(self, file: Listed) -> Path:
        """Brings a file and checks it, unless another process did while this one waited for the client's lock."""
        make_folder(self._folder)
        make_folder(self._locks)
        blob, partial = self._folder / file.digest, self._partial(file)
        with WeakFileLock(self._locks / f"{file.digest}.lock"):
            if not blob.exists():
                self._fill(file, partial)
                self._check(file, partial)
                partial.replace(blob)
                sync_folder(self._folder)
        return blob

    def _fill(self, file: Listed, partial: Path) -> None:
        """Brings the bytes that an interrupted download did not (HTTP's `Range`), and has them on the disk."""
        with partial.open("ab") as stream:
            if stream.tell() > file.size:
                stream.truncate(0)
            if (received := stream.seek(0, os.SEEK_END)) < file.size:
                url = hf_hub_url(self._repository, file.name, revision=self._commit)
                headers = build_hf_headers()
                bounded: Any = Bounded(stream, file.size)
                http_get(url, bounded, resume_size=received, headers=headers, displayed_filename=file.name)
            stream.flush()
            os.fsync(stream.fileno())

    def _here(self, file: Listed) -> Path | None:
        """The file in the cache, if it is there."""
        return next((path for path in (self._snapshot / file.name, self._folder / file.digest) if path.exists()), None)

    def _partial(self, file: Listed) -> Path:
        return self._folder / f"{file.digest}.incomplete"

    def _size(self, file: Listed) -> int:
        """How many of its bytes are on the disk."""
        with suppress(OSError):
            return min(file.size, (self._here(file) or self._partial(file)).stat().st_size)
        return 0


def file_id(path: Path, large: bool) -> str:
    """The digest by which the hub names a file: SHA-256 in its large storage, otherwise git's id of a blob.

    Git's: SHA-1 of the word `blob`, the size, a zero byte and the content (git-scm.com, "Git Internals").
    """
    with path.open("rb") as stream:
        content = sha256()
        if not large:
            content = sha1(f"blob {os.fstat(stream.fileno()).st_size}\0".encode(), usedforsecurity=False)
        while piece := stream.read(PIECE):
            content.update(piece)
    return content.hexdigest()
