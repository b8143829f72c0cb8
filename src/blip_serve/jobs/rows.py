"""What flows through a bulk run: rows of a source, cuts of rows, and what became of each row. Knows no format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from blip_serve.errors import ImageHostBusy, InvalidInput, Overloaded, ServiceError, Unavailable
from blip_serve.images.reference import BytesImage, UnreadableImage, UrlImage

Fields: TypeAlias = Mapping[str, Any]
"""A row's columns by name. The values are what JSON can hold: text, numbers, booleans, `None`, lists, mappings."""
ColumnType = Literal["string", "strings", "number", "numbers", "vector", "integer", "integers", "boolean", "json"]
"""The type of a column: one value, or a list of values (`strings`, `numbers`, `integers`). `number`: float64.
`integer`: of 64 bits. `vector`: a list of float32. `json`: anything, written as JSON text where the format is typed."""

STATE = ".bulk"
"""How the names of the folders begin, in a folder of results, that hold the state of runs."""
KEY = "key"
"""The first column of every sink: `Row.key`. A source's column of that name is the key, unless another is named."""

PASSING = frozenset({"image_fetch_timeout", "rate_limit_exceeded", "overloaded", "storage_failed"})
"""Codes of errors that may not come again at another time, beside those of `Unavailable`."""


@dataclass(frozen=True, slots=True)
class FilePicture:
    """A picture in a file. It is read when its row is processed. `path`: a local path, or a URL that fsspec opens."""

    path: str


Picture: TypeAlias = FilePicture | BytesImage | UrlImage | UnreadableImage


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source.

    `number`: its index in the whole source, from 0. `key`: its name there, which is stable from run to run: a path
    below the folder, a line (`pairs.jsonl:17`), a sample of a tar. `fields`: its columns, without the picture. `error`:
    why it could not be read; all else is then empty.
    """

    number: int
    key: str
    fields: Fields
    picture: Picture | None = None
    error: InvalidInput | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """A few rows in sequence, which are processed and written as one segment. Picklable, and small.

    `index`: counts the cuts of a source from 0. `start`: the `number` of its first row. `where`: what its source needs
    to find the rows again, such as a file and an offset; picklable.
    """

    index: int
    start: int
    count: int
    where: Any


@dataclass(frozen=True, slots=True)
class Kept:
    """The row goes on. `fields`: the columns that the operator made."""

    fields: Fields


@dataclass(frozen=True, slots=True)
class Dropped:
    """A filter took the row out. `reason`: a few words, the same for all rows alike, so that they can be counted.
    `fields`: the columns that the operator made, such as the score."""

    reason: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Failed:
    """The row could not be processed. The run goes on."""

    error: ServiceError

    @property
    def may_pass(self) -> bool:
        """Whether the same row may succeed at another time: time-outs, limits of rates, a server that is busy."""
        return isinstance(self.error, Unavailable | Overloaded | ImageHostBusy) or self.error.code in PASSING


@dataclass(frozen=True, slots=True)
class Existing:
    """The row's output was there before the run, and is left as it is."""


Outcome = Kept | Dropped | Failed | Existing


@dataclass(frozen=True, slots=True)
class Processed:
    """A row after its operator. `picture`: its bytes, if the operator or the sink needs them."""

    row: Row
    outcome: Outcome
    picture: BytesImage | None = None
