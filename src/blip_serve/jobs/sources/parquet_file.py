"""Opens a Parquet file and reads a row group in small batches, within bounds that are checked before it is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from pyarrow import parquet as pq

from blip_serve.jobs.sources.parquet_footer import Group, groups_of
from blip_serve.jobs.sources.parquet_pages import check_start, weight_of
from blip_serve.jobs.sources.parquet_values import FAILURES
from blip_serve.jobs.sources.storage import StorageFailed
from blip_serve.jobs.sources.thrift import MAX_ELEMENTS, Damaged

MIB = 1024 * 1024
MAX_FOOTER_BYTES = 4 * MIB
"""pyarrow makes up to 300 times as much of it in memory."""
MAX_COLUMNS = 1000
MAX_SPARSE_ROWS = 100_000
"""Rows of a file beyond one for each of its bytes. More are what a damaged footer says: each would be an error."""
MAX_GROUP_ROWS = 16_000_000
MAX_GROUP_BYTES = 4096 * MIB
"""Of the columns that are read, decompressed. It is never in memory at once."""
MAX_REPEATED_BYTES = 1024 * MIB
"""Of a column of lists in a row group: one row may hold all of it."""
BATCH_BYTES = 64 * MIB
"""What the texts of a batch take at most, if each is as long as the longest. pyarrow needs three times as much."""
BATCH_ROWS = 256
BUFFER = MIB


class Unreadable(OSError):
    """The file or the row group is damaged, or over a bound. The message says why."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file, pyarrow's reader of it, and its row groups. Never ask the reader for its metadata of columns."""

    file: BinaryIO
    reader: Any
    groups: list[Group]

    @property
    def schema(self) -> Any:
        """pyarrow's schema."""
        return self.reader.schema_arrow


def opened(file: BinaryIO) -> Opened:
    """Reads a file's footer. Raises `Unreadable`."""
    size = file.seek(0, 2)
    file.seek(max(size - 8, 0))
    tail = file.read(8)
    footer = int.from_bytes(tail[:4], "little")
    if size < 12 or tail[4:] != b"PAR1" or footer > size - 12:
        raise Unreadable("no Parquet file, or it is cut off or encrypted")
    if footer > MAX_FOOTER_BYTES:
        raise Unreadable(f"its footer is larger than {MAX_FOOTER_BYTES} bytes; write it with fewer row groups")
    file.seek(size - 8 - footer)
    try:
        groups = groups_of(file.read(footer))
        found = Opened(file, _reader(file), groups)
        names, leaves = found.schema.names, found.reader.metadata.num_columns
    except StorageFailed:
        raise
    except (Damaged, *FAILURES) as error:
        raise Unreadable(f"no Parquet that can be read ({brief(error)})") from None
    if any(len(group.chunks) != leaves for group in found.groups):
        raise Unreadable("no Parquet that can be read (row groups lack columns)")
    if (rows := sum(max(group.rows, 0) for group in groups)) > MAX_SPARSE_ROWS + size:
        raise Unreadable(f"no Parquet that can be read ({rows} rows in {size} bytes)")
    if len(set(names)) < len(names) or leaves > MAX_COLUMNS:
        raise Unreadable(f"two columns have one name, or there are more than {MAX_COLUMNS}")
    return found


def reason_against(found: Opened, group: int, names: Sequence[str]) -> str | None:
    """Why a row group cannot be read, by the footer alone. `None` if it can. `names`: the columns to read."""
    about = found.groups[group]
    if not 0 <= about.rows <= MAX_GROUP_ROWS:
        return f"row group {group} has more than {MAX_GROUP_ROWS} rows"
    if sum(about.chunks[leaf].unpacked for leaf in _leaves(found, names)) > MAX_GROUP_BYTES:
        return f"row group {group} is larger than {MAX_GROUP_BYTES} bytes"
    return None


def damage_in(found: Opened, group: int, names: Sequence[str]) -> str | None:
    """Why a row group cannot be read, by the first page of each column. `None` if nothing speaks against it."""
    try:
        for leaf in _leaves(found, names):
            check_start(found.file, found.groups[group].chunks[leaf])
    except Damaged as error:
        return _damaged(group, error)
    return None


def batches_of(found: Opened, group: int, names: Sequence[str]) -> Iterator[Any]:
    """The rows of a row group in record batches: as few at a time as fit in memory for certain. Raises `Unreadable`."""
    if not names:
        raise Unreadable("no column that could be read")
    try:
        rows = min(BATCH_ROWS, BATCH_BYTES // max(_longest_row(found, group, names), 1)) or 1
        yield from found.reader.iter_batches(rows, row_groups=[group], columns=list(names), use_threads=False)
    except StorageFailed:
        raise
    except (Damaged, MemoryError, *FAILURES) as error:
        raise Unreadable(_damaged(group, error)) from None


def brief(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _damaged(group: int, error: BaseException) -> str:
    return f"row group {group} is damaged or too large ({brief(error)})"


def _reader(file: BinaryIO) -> Any:
    return pq.ParquetFile(
        file,
        buffer_size=BUFFER,
        pre_buffer=False,
        thrift_string_size_limit=MAX_FOOTER_BYTES,
        thrift_container_size_limit=MAX_ELEMENTS,
    )


def _longest_row(found: Opened, group: int, names: Sequence[str]) -> int:
    total = 0
    for leaf in _leaves(found, names):
        column = found.reader.schema.column(leaf)
        repeated = column.max_repetition_level > 0
        weight = weight_of(found.file, found.groups[group].chunks[leaf], column.physical_type, repeated)
        if repeated and weight.chunk > MAX_REPEATED_BYTES:
            raise Damaged(f"the lists of column {leaf} may take {weight.chunk} bytes")
        total += weight.chunk if repeated else weight.value
    return total


def _leaves(found: Opened, names: Sequence[str]) -> list[int]:
    paths = (found.reader.schema.column(leaf).path for leaf in range(found.reader.metadata.num_columns))
    begin = tuple(f"{name}." for name in names)
    return [leaf for leaf, path in enumerate(paths) if f"{path}.".startswith(begin)]
