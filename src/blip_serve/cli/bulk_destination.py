"""Where a bulk command writes, and that it replaces no file of the user's, nor one that it reads."""

import os
from pathlib import Path

from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.destination import Destination, destination
from blip_serve.jobs.manifest import has_begun
from blip_serve.jobs.sources.files import expanded, place, scheme_of


def destination_of(options: BulkOptions) -> Destination:
    """Where `--to` leads; without it sidecars lie beside the pictures."""
    kind = options.kind or ("sidecar" if options.sidecar else None)
    if options.to is not None:
        return destination(options.to, kind, options.part)
    if kind == "sidecar" and len(options.sources) == 1 and Path(options.sources[0]).is_dir():
        return destination(options.sources[0], kind, options.part)
    raise ConfigurationError("--to is missing: name a file or a folder. Only sidecars of one folder do without.")


def rejects_of(options: BulkOptions, to: Destination) -> Path:
    """The file of rows that were dropped or failed."""
    return options.rejects or to.rejects


def check_free(options: BulkOptions, to: Destination) -> None:
    """Raises `ConfigurationError` where a file would be replaced that no bulk run wrote, or that is read.

    Also where pictures would be copied into a folder that they are read from: the run could not go on.
    """
    to.check()
    for folder in _local(options) if to.kind == "imagefolder" and not to.single else ():
        if folder.is_dir() and _real(to.path).is_relative_to(_real(folder)):
            raise ConfigurationError(f"--to {to.path}: the copies would be pictures of {folder} too. Give another.")
    rejects = rejects_of(options, to)
    if _real(rejects) == _real(to.path) or (rejects.exists() and not has_begun(to.state)):
        raise ConfigurationError(
            f"{rejects}: rows that are dropped or fail would go there, but it is there already, or is --to itself. "
            "Delete it, or give another file with --rejects."
        )
    for path in (to.path, rejects):
        if path.is_file() and _real(path) in map(_real, _local(options)):
            raise ConfigurationError(f"{path}: it is a source, and would be replaced. Give another --to or --rejects.")


def _local(options: BulkOptions) -> list[Path]:
    """The files and folders that are read, but for URLs and standard input."""
    given = (path for each in options.sources if each != "-" for path in expanded(place(each)))
    return [Path(path) for path in given if not scheme_of(path)]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
