"""Reads pictures and their texts from a bulk run's sources: a column of texts, or text files beside the pictures."""

from collections.abc import Iterator
from pathlib import Path

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.images.decode import own_formats
from blip_serve.jobs.evaluation.gallery import Entry
from blip_serve.jobs.operators.inputs import texts_of
from blip_serve.jobs.plan import CUT_ROWS
from blip_serve.jobs.rows import FilePicture, Row
from blip_serve.jobs.sources.folder import Folder
from blip_serve.jobs.sources.opening import SourceOptions, open_source

SIDECAR = ".txt"
MAX_SIDECAR_BYTES = 64 * 1024


def read_rows(data: str, root: Path | None, column: str) -> Iterator[Entry]:
    """The rows of a source. Their texts are in `column`, or for a folder of pictures in a text file beside each of
    them, a text a line. `root`: the folder that paths in columns are below.

    Raises `ConfigurationError` for what is no source, and for a row that is none of a picture's file and texts.
    """
    options = SourceOptions(root=None if root is None else str(root), formats=frozenset(own_formats()))
    try:
        source = open_source([data], options)
    except OSError as error:
        raise ConfigurationError(f"{data}: {error.strerror}") from None
    beside = isinstance(source, Folder)
    for cut in source.cuts(CUT_ROWS):
        for row in source.rows(cut):
            if row.error is not None:
                raise ConfigurationError(f"{data}: {row.key}: {row.error.message}")
            if not isinstance(row.picture, FilePicture):
                raise ConfigurationError(f"{data}: {row.key}: it has no picture's path")
            texts = _beside(row.picture) if beside else _of_column(row, column, data)
            yield Entry(row.key, row.picture, texts)


def _of_column(row: Row, column: str, data: str) -> tuple[str, ...]:
    try:
        return tuple(text.text for text in texts_of(row, column))
    except InvalidInput as error:
        raise ConfigurationError(f"{data}: {row.key}: {error.message} --text names another column.") from None


def _beside(picture: FilePicture) -> tuple[str, ...]:
    """The lines of the text file that has a picture's name; none if there is no such file."""
    file = Path(picture.path).with_suffix(SIDECAR)
    try:
        if not file.is_file():
            return ()
        if file.stat().st_size > MAX_SIDECAR_BYTES:
            raise ConfigurationError(f"{file}: it is larger than {MAX_SIDECAR_BYTES:,} bytes")
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: it is not UTF-8") from None
