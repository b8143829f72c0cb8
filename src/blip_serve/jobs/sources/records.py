"""Makes rows of records: which column holds the picture, which the key. Knows no format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import KEY, Cut, Picture, Row
from blip_serve.jobs.sources.references import picture_of
from blip_serve.jobs.sources.storage import StorageFailed

PICTURES = ("image", "jpg", "image_path", "path", "url", "file_name")
"""Columns that hold the picture where none is named; the first of these that there is."""
MAX_ROW_BYTES = 32 * 1024 * 1024
MAX_KEY_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what.

    `picture`: by default the first of `PICTURES`. `key`: by default `KEY` if there is one, else the row's place.
    """

    picture: str | None = None
    key: str | None = None

    @property
    def takes_key(self) -> bool:
        """Whether a column `KEY` is the row's key, and so no field."""
        return self.key in (None, KEY)

    def picture_in(self, names: Any) -> str | None:
        """The picture's column among these, if there is one."""
        if self.picture is not None:
            return self.picture if self.picture in names else None
        return next((name for name in PICTURES if name in names), None)


@dataclass(frozen=True, slots=True)
class Records:
    """How records become rows.

    `root`: the folder that paths in columns are under, without links; by default that of the source file.
    `max_row_bytes`: of one record, as its format stores it.
    """

    columns: Columns = Columns()
    root: str | None = None
    max_row_bytes: int = MAX_ROW_BYTES

    def row(self, number: int, place: str, record: Mapping[str, Any], folder: str) -> Row:
        """A record's row. `place`: where it stands, for people. `folder`: that of the file.

        Bytes are no field, nor is a data URI: the row's picture holds them. A path or URL remains a field.
        """
        column = self.columns.picture_in(record)
        value = None if column is None else record[column]
        picture = None if column is None else picture_of(value, self.root or folder, self.max_row_bytes, column)
        fields = {name: each for name, each in record.items() if name != column or _is_reference(each)}
        return self.keyed(number, place, fields, picture)

    def keyed(self, number: int, place: str, fields: Mapping[str, Any], picture: Picture | None) -> Row:
        """The row, by the key that its column holds, or else by its place."""
        named = self.columns.key
        value = fields.get(named or KEY)
        key = _key(value)
        if key is None and named is not None:
            return failed(number, place, f"The column {named} holds no key.", "invalid_key")
        if self.columns.takes_key and (key is not None or value in (None, "")):
            fields = {name: each for name, each in fields.items() if name != KEY}
        return Row(number, key or place, fields, picture)


def failed(number: int, place: str, message: str, code: str) -> Row:
    """A row that could not be read."""
    return Row(number, place, {}, error=InvalidInput(f"{place}: {message}", code=code))


def complete(rows: Iterator[Row], cut: Cut, name: str) -> Iterator[Row]:
    """Exactly `cut.count` rows: a row with an `error` stands for each that is missing. `name`: that of the file."""
    done, reason, code = 0, "the file ends before this row; it has been changed", "file_not_readable"
    try:
        for row in islice(rows, cut.count):
            yield row
            done += 1
    except StorageFailed as error:
        reason, code = f"its storage failed: {error.strerror}", "storage_failed"
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror or error}"
    for number in range(cut.start + done, cut.start + cut.count):
        yield failed(number, f"{name}#{number}", reason, code)


def _key(value: Any) -> str | None:
    """A value as a key. `None` for one that is none."""
    if isinstance(value, str | int) and not isinstance(value, bool) and 0 < len(str(value)) <= MAX_KEY_CHARS:
        return str(value)
    return None


def _is_reference(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lstrip()[:5].lower() != "data:")
