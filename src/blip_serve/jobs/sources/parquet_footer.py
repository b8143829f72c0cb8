"""What a Parquet file's footer says of its row groups.

Not by pyarrow: its metadata of a column ends the process if the footer is damaged (26.0, `ColumnChunkMetaData`).
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from dataclasses import dataclass

from blip_serve.jobs.sources.thrift import I32, I64, STRUCT, Damaged, Struct, integer, struct, structs


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in a row group: `size` bytes from `start` on, which are `unpacked` bytes once decompressed."""

    start: int
    size: int
    unpacked: int
    codec: int


@dataclass(frozen=True, slots=True)
class Group:
    """A row group. `chunks`: in the order of the schema's leaves."""

    rows: int
    chunks: tuple[Chunk, ...]


def groups_of(footer: bytes) -> list[Group]:
    """The row groups. Raises `Damaged`."""
    return [
        Group(integer(group, 3, I64), tuple(_chunk(chunk) for chunk in structs(group, 1)))
        for group in structs(struct(footer)[0], 4)
    ]


def _chunk(given: Struct) -> Chunk:
    about = given.get((3, STRUCT))
    if not isinstance(about, dict):
        raise Damaged("a column without metadata")
    start = integer(about, 9, I64)
    if (11, I64) in about and 0 < (dictionary := integer(about, 11, I64)) < start:
        start = dictionary  # as Arrow finds the first page
    found = Chunk(start, integer(about, 7, I64), integer(about, 6, I64), integer(about, 4, I32))
    if min(found.start, found.size, found.unpacked) < 0:
        raise Damaged("a size or an offset below zero")
    return found
