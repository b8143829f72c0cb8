"""Opens what the command line names as a source: finds its kind, and the class that reads it."""

import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal, cast, get_args

from blip_serve.domain import ImageFormat
from blip_serve.errors import ConfigurationError
from blip_serve.images.decode import own_formats
from blip_serve.images.header import HEAD_BYTES, sniff
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.files import expanded, is_folder, open_file, place, real, scheme_of
from blip_serve.jobs.sources.folder import SUFFIXES, Folder
from blip_serve.jobs.sources.records import MAX_ROW_BYTES, Columns, Records
from blip_serve.jobs.sources.source import Source
from blip_serve.jobs.sources.spool import spooled

LOOKED_AT = 20
"""Rows in which columns that are named are looked for."""
GIB = 1024 * 1024 * 1024
Kind = Literal["pictures", "jsonl", "csv", "tsv", "parquet", "tar"]
_READERS: Mapping[Kind, str] = {
    "jsonl": "blip_serve.jobs.sources.lines:Lines",
    "csv": "blip_serve.jobs.sources.table:Table",
    "tsv": "blip_serve.jobs.sources.table:tab_separated",
    "parquet": "blip_serve.jobs.sources.parquet:Parquet",
    "tar": "blip_serve.jobs.sources.tars:Tars",
}
"""Imported when first needed: Parquet needs a package that is not always there."""
_KINDS: Mapping[str, Kind] = {
    "jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv", "tsv": "tsv", "parquet": "parquet", "tar": "tar",
}  # fmt: skip
"""By what a file's name ends with."""
_PACKED = frozenset(("gz", "tgz", "bz2", "xz", "zst", "zip"))


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the command line says of a source.

    `root`: the folder that paths in columns are under; by default that of the source file, and for standard input the
    current one. `kind`: by default told by names. `formats`: of pictures in folders. `state`: the folder that keeps
    what comes on standard input, at most `max_input_bytes`. `max_row_bytes`: of one record.
    """

    columns: Columns = Columns()  # noqa: RUF009  # frozen
    root: str | None = None
    kind: Kind | None = None
    formats: frozenset[ImageFormat] = frozenset()
    state: Path | None = None
    max_row_bytes: int = MAX_ROW_BYTES
    max_input_bytes: int = 16 * GIB


def open_source(given: Sequence[str], options: SourceOptions, stdin: BinaryIO | None = None) -> Source:
    """The source that the arguments name together: folders and pictures, files of one kind, or `-`.

    Raises `ConfigurationError` for what is not there, is of several kinds or of none, or lacks a column that is named;
    and `OSError`.
    """
    if options.root is not None:
        root = place(options.root)
        if not is_folder(root):
            raise ConfigurationError(f"--root {root}: there is no such folder")
        options = replace(options, root=real(root))
    if "-" in given:
        return _checked(_standard_input(given, options, stdin or sys.stdin.buffer), options)
    paths = _once([path for each in given for path in expanded(place(each))])
    if len({scheme_of(path) for path in paths}) > 1:
        raise ConfigurationError("Give paths, or URLs of one scheme, not both")
    kinds = {_kind_of(path, options) for path in paths}
    if len(kinds) != 1:
        raise ConfigurationError(f"Give sources of one kind, not of {', '.join(sorted(kinds)) or 'none'}")
    return _checked(_opened(kinds.pop(), paths, options), options)


def _opened(kind: Kind, paths: tuple[str, ...], options: SourceOptions) -> Source:
    if kind == "pictures":
        return Folder(_outermost(paths), options.formats or frozenset(own_formats()))
    files = Files(_once([file for path in paths for file in _files_of(path, kind)]))
    return _reader(kind)(files, Records(options.columns, options.root, options.max_row_bytes))


def _standard_input(given: Sequence[str], options: SourceOptions, stdin: BinaryIO) -> Source:
    if len(given) > 1 or options.kind not in (None, "jsonl"):
        raise ConfigurationError("-: standard input holds lines of JSON, and is the only source")
    if options.state is None:
        raise ConfigurationError("-: there is no folder to keep standard input in")
    path = spooled(stdin, options.state, options.max_input_bytes)
    return _opened("jsonl", (str(path),), replace(options, root=options.root or real(os.getcwd())))


def _kind_of(path: str, options: SourceOptions) -> Kind:
    suffix = path.rpartition(".")[2].lower()
    if suffix in _PACKED:
        raise ConfigurationError(f"{path}: packed files are not read; unpack it first")
    if options.kind or is_folder(path):
        return options.kind or "pictures"
    if not scheme_of(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise ConfigurationError(f"{path}: no regular file; to read from a pipe, give - and lines of JSON")
    if suffix in _KINDS:
        return _KINDS[suffix]
    if suffix in SUFFIXES or (not scheme_of(path) and _is_picture(path)):
        return "pictures"
    raise ConfigurationError(f"{path}: of no known kind; --format names one of {', '.join(get_args(Kind))}")


def _is_picture(path: str) -> bool:
    with open_file(path) as file:
        return sniff(file.read(HEAD_BYTES)) is not None


def _files_of(path: str, kind: Kind) -> list[str]:
    """A file; or the files of that kind in a folder."""
    if not is_folder(path):
        return [path]
    pattern = f"{(path if scheme_of(path) else escape(path)).rstrip('/')}/*"
    found = [file for file in expanded(pattern) if _KINDS.get(file.rpartition(".")[2].lower()) == kind]
    if not found:
        raise ConfigurationError(f"{path}: no files of the kind {kind} in this folder")
    return found


def _once(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths without those that name the same file again, such as `./a.jpg` after `a.jpg`."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(path if scheme_of(path) else os.path.abspath(path), path)
    return tuple(found.values())


def _outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that are inside of another: no picture is two rows."""
    if scheme_of(paths[0]):
        return paths
    real = {path: os.path.abspath(path) for path in paths}
    folders = {each.rstrip(os.sep) + os.sep for path, each in real.items() if os.path.isdir(path)}
    return tuple(path for path in paths if not any(real[path].startswith(each) for each in folders))


def _reader(kind: Kind) -> Callable[[Files, Records], Source]:
    module, _, name = _READERS[kind].partition(":")
    try:
        return cast(Callable[[Files, Records], Source], getattr(import_module(module), name))
    except ImportError as error:
        raise ConfigurationError(f"{kind}: needs the package {error.name}: pip install 'blip-serve[bulk]'") from None


def _checked(source: Source, options: SourceOptions) -> Source:
    """The source, if its first rows have the columns that are named."""
    picture, key = options.columns.picture, options.columns.key
    if picture is None and key is None:
        return source
    rows = [row for cut in islice(source.cuts(LOOKED_AT), 1) for row in source.rows(cut)]
    read = [row for row in rows if row.error is None]
    if key is not None and any(row.error and row.error.code == "invalid_key" for row in rows) and not read:
        raise ConfigurationError(f"{key}: the first rows have no such column, or no key in it")
    if picture is not None and read and all(row.picture is None for row in read):
        raise ConfigurationError(f"{picture}: the first rows have no such column, or no picture in it")
    return source
