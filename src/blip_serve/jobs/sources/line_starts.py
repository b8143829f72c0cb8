"""Finds where lines begin in a file, without reading them as text. Blank lines do not count."""

from collections.abc import Iterator
from typing import BinaryIO, TypeAlias

import numpy as np

BLOCK = 1024 * 1024
"""Bytes that are looked at in one go."""
_IS_TEXT = np.ones(256, np.int32)
_IS_TEXT[[9, 10, 13, 32]] = 0  # the blanks of JSON

Starts: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"


def spans(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Runs of up to `size` lines: the offset of the first, its number in the file (from 1), and how many they are."""
    offset = line = count = 0
    for offsets, lines in _starts(file):
        at = 0
        while at < len(offsets):
            if count == 0:
                offset, line = int(offsets[at]), int(lines[at])
            taken = min(size - count, len(offsets) - at)
            at, count = at + taken, count + taken
            if count == size:
                yield offset, line, count
                count = 0
    if count:
        yield offset, line, count


def lines_from(file: BinaryIO, line: int, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines from where the file is, with their numbers. `None` for one of more than `max_bytes`, which is not kept.

    Blank lines are left out, as `spans` does.
    """
    while head := file.readline(max_bytes + 1):
        whole, blank = head.endswith(b"\n") or len(head) <= max_bytes, not head.strip(b" \t\r\n")
        if not whole:
            head = b""
        while not whole and (rest := file.readline(BLOCK)):
            whole, blank = rest.endswith(b"\n"), blank and not rest.strip(b" \t\r\n")
        if not blank:
            yield line, head or None
        line += 1


def _starts(file: BinaryIO) -> Iterator[tuple[Starts, Starts]]:
    """For each block, where the lines that end in it begin, and their numbers."""
    base, line, begun, begun_has_text = 0, 1, 0, 0
    while block := file.read(BLOCK):
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == 10)
        starts = np.concatenate(([0], ends + 1))
        has_text = _has_text(data, starts, begun_has_text)
        starts += base
        starts[0] = begun
        full = np.flatnonzero(has_text[:-1])
        yield starts[full], full + line
        line, base = line + len(ends), base + len(data)
        begun, begun_has_text = int(starts[-1]), int(has_text[-1])
    if begun_has_text:
        yield np.array([begun]), np.array([line])


def _has_text(data: "np.ndarray[tuple[int], np.dtype[np.uint8]]", starts: Starts, first: int) -> Starts:
    """For each line of a block, whether there is more than blanks. `first`: whether there was, in its first line."""
    some = starts[:-1] if starts[-1] == len(data) else starts
    begin_with_text = _IS_TEXT[data[some]]
    begin_with_text[0] |= first
    if begin_with_text.all():  # nearly always: to count the text of each line takes ten times as long
        return (starts < len(data)).astype(np.int64) if len(starts) > 1 else np.ones(1, np.int64)
    text = np.concatenate(([0], np.cumsum(_IS_TEXT[data])))
    has_text: Starts = np.diff(text[np.append(starts, len(data))])
    has_text[0] += first
    return has_text
