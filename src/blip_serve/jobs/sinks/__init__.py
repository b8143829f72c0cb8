"""Where the rows of a bulk run go. One file a format; `make_sink` makes the one that a destination needs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.destination import Destination, SinkKind
from blip_serve.jobs.rows import STATE, ColumnType
from blip_serve.jobs.sinks.claims import Claims
from blip_serve.jobs.sinks.sink import Sink
from blip_serve.jobs.sources.folder import SUFFIXES

_CLASSES: Mapping[SinkKind, str] = {
    "jsonl": "blip_serve.jobs.sinks.jsonl:JsonlSink",
    "parquet": "blip_serve.jobs.sinks.parquet:ParquetSink",
    "webdataset": "blip_serve.jobs.sinks.webdataset:WebDatasetSink",
    "sidecar": "blip_serve.jobs.sinks.sidecars:SidecarSink",
    "imagefolder": "blip_serve.jobs.sinks.imagefolder:ImageFolderSink",
}
"""Imported when one is made: Parquet needs pyarrow, which the others do without."""
_EXTENSION = re.compile(r"\.[A-Za-z0-9_-]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """How to write. `columns`: all columns, those of the source and those of the operator. `text`: the one that
    sidecars and `.txt` members hold. `pictures`: whether Parquet holds the pictures' bytes. The others: sidecars'.
    `source`: where shards write them, stands for what numbers the rows."""

    columns: Mapping[str, ColumnType] = field(default_factory=dict)
    text: str | None = None
    pictures: bool = False
    extension: str = ".txt"
    prefix: str = ""
    suffix: str = ""
    existing: Literal["skip", "overwrite"] = "skip"
    source: str = ""


def make_sink(to: Destination, options: SinkOptions) -> Sink:
    """The sink of a destination. Writes nothing yet. Raises `ConfigurationError` for options that do not fit it."""
    path, parts, columns = to.path, to.state / "parts", dict(options.columns)
    if options.pictures and to.kind != "parquet":
        raise ConfigurationError(f"{path}: only Parquet has a column for the pictures.")
    match to.kind:
        case "jsonl":
            return _made(to.kind, path, parts, columns)
        case "parquet":
            return _made(to.kind, path if to.single else None, parts if to.single else path, columns, options.pictures)
        case "webdataset":
            return _made(to.kind, path, options.text, columns)
        case "imagefolder":
            return _made(to.kind, path.parent if to.single else path, parts, not to.single, columns)
        case "sidecar":
            return _sidecars(to, options)


def _sidecars(to: Destination, options: SinkOptions) -> Sink:
    if options.text is None:
        raise ConfigurationError(f"{to.path}: a sidecar holds a text, and this operator makes none.")
    ending = options.extension
    if not _EXTENSION.fullmatch(ending) or ending[1:].lower() in SUFFIXES:
        raise ConfigurationError(f"The sidecars' extension is {ending!r}; it should be such as .txt or .caption.")
    claims = Claims(path=to.path / STATE / "claims.sqlite", mark=to.state / "claims", source=options.source)
    return _made("sidecar", to.path, claims, options.text, ending, options.prefix, options.suffix, options.existing)


def _made(kind: SinkKind, *arguments: Any) -> Sink:
    module, _, name = _CLASSES[kind].partition(":")
    try:
        sink: Sink = getattr(import_module(module), name)(*arguments)
    except ImportError as error:
        raise ConfigurationError(f"{kind} needs a package: pip install 'blip-serve[bulk]' ({error.name}).") from error
    return sink
