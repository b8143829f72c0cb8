"""The destination that a user names: of which kind it is, and where the run keeps its state. Opens nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.manifest import has_begun
from blip_serve.jobs.plan import WHOLE, Shard
from blip_serve.jobs.record import check_links
from blip_serve.jobs.rows import STATE

SinkKind = Literal["jsonl", "parquet", "webdataset", "sidecar", "imagefolder"]
METADATA = "metadata.jsonl"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE | re.ASCII)
_BY_SUFFIX: Mapping[str, SinkKind] = MappingProxyType({".jsonl": "jsonl", ".parquet": "parquet"})


@dataclass(frozen=True, slots=True)
class Destination:
    """A local file or folder. `single`: whether it is one file, which the parts are joined to.

    The shards of a run share a folder, and have a state each; a file each if `single`, named like
    `captions-00001-of-00008.jsonl`. So they may run on several machines.
    """

    named: Path
    kind: SinkKind
    single: bool
    shard: Shard = WHOLE

    @property
    def path(self) -> Path:
        """The file or folder that is written."""
        return self.named.with_name(self._of_shard(self.named.stem) + self.named.suffix) if self.single else self.named

    @property
    def state(self) -> Path:
        """The folder of the run's manifest and parts: hidden in a folder of results, beside a file of results."""
        if self.path.name == METADATA:  # its folder is one of results, where `datasets` looks for files
            return self.path.parent / f"{STATE}-metadata"
        return self.path.with_name(self.path.name + STATE) if self.single else self.path / self._of_shard(STATE)

    @property
    def rejects(self) -> Path:
        """The file of rows that were dropped or failed: beside the results, by whose whole name it is called."""
        path = self.path.parent if self.path.name == METADATA else self.path
        name = path.name if self.single else self._of_shard(path.name)
        return path.with_name(f"{name}.rejects.jsonl")

    def check(self) -> None:
        """Raises `ConfigurationError` if results are there that no bulk run wrote, or if the state is behind a link.

        Sidecars may be there.
        """
        for state in {self.state, self.path / STATE}:  # shards have the second in common
            check_links(state)
        if self.kind == "sidecar" or not self.path.exists() or has_begun(self.state):
            return
        others = self.path.glob(f"{STATE}-*-of-{self.shard.of:05d}")  # of the run's other shards
        if not self.single and any(map(has_begun, others)):
            return
        if self.single or any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise ConfigurationError(
                f"--to {self.path}: it is there already, and no bulk run wrote it. Give another, or delete it."
            )

    def _of_shard(self, name: str) -> str:
        shard = self.shard
        return name if shard.of == 1 else f"{name}-{shard.index + 1:05d}-of-{shard.of:05d}"


def destination(named: str, kind: str | None = None, shard: Shard = WHOLE) -> Destination:
    """Reads what a user named. `kind`: one of `SinkKind`, or `None` if the name's ending tells.

    Raises `ConfigurationError` for a URL, `/`, an unknown kind, a folder in a file's place and the other way round.
    """
    if _URL.match(named) or named in ("", "-"):
        raise ConfigurationError(f"{named!r}: give a local file or folder. Results are written to no URL or pipe.")
    path = _whole(Path(named))
    if not path.name:
        raise ConfigurationError(f"{named}: give a file or a folder below it.")
    found = _kind(path, kind)
    single = found == "jsonl" or path.suffix == ".parquet" or path.name == METADATA
    if single and (path.is_dir() or named.endswith("/")):
        raise ConfigurationError(f"{named}: this is a folder; {found} needs a file's name, such as out.{found}.")
    if not single and path.exists() and not path.is_dir():
        raise ConfigurationError(f"{named}: this is a file; {found} needs a folder.")
    if found == "imagefolder" and shard != WHOLE:
        raise ConfigurationError(f"{named}: shards cannot share a {METADATA}; give each a folder, without --shard.")
    return Destination(path, found, single, shard)


def _whole(path: Path) -> Path:
    """The absolute path: `.` and `..` have no name of their own, beside which rejects could be called."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _kind(path: Path, kind: str | None) -> SinkKind:
    for known in get_args(SinkKind):
        if kind == known:
            return _checked(path, known)
    if kind is not None:
        raise ConfigurationError(f"{kind!r} is no kind of results; use one of {', '.join(get_args(SinkKind))}.")
    found: SinkKind | None = "imagefolder" if path.name == METADATA else _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        kinds = ", ".join(get_args(SinkKind))
        raise ConfigurationError(
            f"{path}: its name does not tell what to write. End it in .jsonl, .parquet or /{METADATA}, "
            f"or name the kind: {kinds}."
        )
    return found


def _checked(path: Path, kind: SinkKind) -> SinkKind:
    """A kind that the name's ending contradicts is a slip, such as `webdataset` for `out.jsonl`."""
    told = _BY_SUFFIX.get(path.suffix.lower())
    if told not in (None, kind) and not (kind == "imagefolder" and path.name == METADATA):
        raise ConfigurationError(f"{path}: its name ends in {path.suffix}, but {kind} was asked for.")
    return kind
