"""What `pull` recorded of the checkpoints that it brought: the digests of their files. Reads no weights."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from blip_serve.durable import as_name, write_file
from blip_serve.errors import CheckpointError


class Pulled(BaseModel):
    """A checkpoint as it came from the hub. `files`: the SHA-256 of each file by name, checked against the hub's.

    `revision`: the branch, tag or commit that was asked for; `commit`: what it was then. `tensors`: the digest of each
    weight (`models/digests.py`), which tells what changed in a file that did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    revision: str | None
    commit: str
    files: dict[str, str]
    tensors: dict[str, str] = {}


def keep_pulled(data: Path, pulled: Pulled) -> None:
    """Records it durably below the folder `data`. Raises `OSError`."""
    write_file(_file(data, pulled.repository, pulled.commit), pulled.model_dump_json(indent=2).encode() + b"\n")


def find_pulled(data: Path, repository: str, commit: str) -> Pulled | None:
    """What was recorded of a repository at a commit, or `None`. Raises `CheckpointError` if that cannot be read."""
    file = _file(data, repository, commit)
    try:
        return Pulled.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(file, error.strerror or "not readable") from None
    except ValidationError:
        raise CheckpointError(file, "not what `blip-serve pull` writes") from None


def pulled_of(data: Path, repository: str) -> list[Pulled]:
    """All that was recorded of a repository, the latest last. Raises `CheckpointError` as `find_pulled`."""
    files = sorted(_folder(data, repository).glob("*.json"), key=lambda file: file.stat().st_mtime)
    return [found for file in files if (found := find_pulled(data, repository, file.stem)) is not None]


def _folder(data: Path, repository: str) -> Path:
    return data / "pulled" / as_name(repository)


def _file(data: Path, repository: str, commit: str) -> Path:
    return _folder(data, repository) / f"{as_name(commit)}.json"
