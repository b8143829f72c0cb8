"""How much memory the pages of a Parquet column need, told by the pages' headers before anything is decompressed.

The sizes in a file's footer are what its writer says; pages of gigabytes may stand behind them.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import struct as packed
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import pyarrow as pa

from blip_serve.jobs.sources.parquet_footer import Chunk
from blip_serve.jobs.sources.thrift import I32, STRUCT, Damaged, Struct, integer, struct

MAX_PAGE_BYTES = 512 * 1024 * 1024
"""Of a page, decompressed. Writers put up to a thousand pictures into one."""
MAX_PAGE_VALUES = 16_000_000
MAX_HEADER_BYTES = 1024 * 1024
MAX_PAGES = 100_000
"""Of a column in a row group."""
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_DETAILS = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}
"""The field of a page's header that holds its details, by its type."""
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}
_DELTA_BYTE_ARRAY = 7
_CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `at`: the offset of its data. Sizes in bytes."""

    kind: int
    at: int
    packed: int
    unpacked: int
    values: int
    encoding: int

    @property
    def expands(self) -> bool:
        """Whether a value may be far longer than the bytes that stand for it."""
        return self.kind == _DICTIONARY or self.encoding == _DELTA_BYTE_ARRAY


@dataclass(frozen=True, slots=True)
class Weight:
    """What a column chunk needs. `value`: bytes of the longest value, at most. `chunk`: of all its values."""

    value: int
    chunk: int


def weight_of(file: BinaryIO, chunk: Chunk, physical_type: str, repeated: bool) -> Weight:
    """The weight of a column chunk, by the headers of its pages. `repeated`: a row may hold many of its values.

    Raises `Damaged` for pages that cannot be walked, or that are over the bounds.
    """
    pages = list(islice(_pages(file, chunk), MAX_PAGES + 1))
    if len(pages) > MAX_PAGES:
        raise Damaged(f"a column has more than {MAX_PAGES} pages")
    values = sum(page.values for page in pages if page.kind != _DICTIONARY)
    expanding = [page for page in pages if page.expands] if physical_type.endswith("BYTE_ARRAY") else []
    value = max((page.unpacked for page in expanding), default=0)
    if repeated and expanding and all(page.kind == _DICTIONARY for page in expanding):
        value = max(_longest(file, chunk, physical_type, page) for page in expanding)
    return Weight(value, sum(page.unpacked for page in pages) + values * (8 + value))


def check_start(file: BinaryIO, chunk: Chunk) -> None:
    """Raises `Damaged` if a column chunk begins with no page, or with one over the bounds."""
    if next(_pages(file, chunk), None) is None:
        raise Damaged("a column without pages")


def _pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    at, end = chunk.start, chunk.start + chunk.size
    while at < end:
        head, size = _header(file, at, min(end - at, MAX_HEADER_BYTES))
        page = _page(head, at + size)
        yield page
        at = page.at + page.packed


def _header(file: BinaryIO, at: int, limit: int) -> tuple[Struct, int]:
    size = min(256, limit)
    while True:
        file.seek(at)
        try:
            return struct(file.read(size))
        except Damaged:
            if size >= limit:
                raise
            size = min(size * 16, limit)


def _page(head: Struct, at: int) -> Page:
    kind, unpacked, size = (integer(head, field, I32) for field in (1, 2, 3))
    details = head.get((_DETAILS.get(kind, 0), STRUCT))
    values = integer(details, 1, I32) if details else 0
    encoding = integer(details, _ENCODING[kind], I32) if details else 0
    if size < 0 or unpacked < 0 or values < 0:
        raise Damaged("a size below zero")
    if unpacked > MAX_PAGE_BYTES or values > MAX_PAGE_VALUES:
        raise Damaged(f"a page holds more than {MAX_PAGE_BYTES} bytes or {MAX_PAGE_VALUES} values")
    return Page(kind, at, size, unpacked, values, encoding)


def _longest(file: BinaryIO, chunk: Chunk, physical_type: str, page: Page) -> int:
    """Bytes of the longest value of a dictionary. That of the whole page, if its codec is one we do not know."""
    if physical_type != "BYTE_ARRAY":
        return page.unpacked // max(page.values, 1)
    file.seek(page.at)
    data = file.read(page.packed)
    if chunk.codec not in _CODECS:
        return page.unpacked
    if codec := _CODECS[chunk.codec]:
        try:
            data = pa.decompress(data, page.unpacked, codec, asbytes=True)
        except (pa.ArrowException, OSError, ValueError):
            return page.unpacked
    at = longest = 0
    while at + 4 <= len(data):
        (size,) = packed.unpack_from("<I", data, at)
        at, longest = at + 4 + size, max(longest, size)
    return min(longest, page.unpacked)
