"""Walks the members of a tar by their headers, within bounds. Reads no data, follows no links, makes no files.

Not by `tarfile.TarFile`: it keeps every member, reads headers of any size, and takes a broken header for the end.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
MAX_HEADER_BYTES = 64 * 1024
"""Of a header that holds a long name or attributes."""
MAX_HEADERS = 8
"""Of these for one member."""
MAX_NAME_CHARS = 4096
_LONG = frozenset((tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK))
_PAX = frozenset((tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE))
_REGULAR = frozenset((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE))
_ATTRIBUTE = re.compile(rb"([0-9]{1,6}) ([^=\n]{1,255})=")


class Broken(Exception):
    """The tar cannot be read further. The message says why, and at which byte."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member. `head`: the offset of its first header; `at`: of its data. `reason`: why it must not be read."""

    name: str
    head: int
    at: int
    size: int
    reason: str | None = None


@dataclass
class _Given:
    """What the headers before a member's own say of it."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False
    count: int = 0


def members_of(file: BinaryIO, at: int = 0) -> Iterator[Member]:
    """The members from the header at `at` on, without folders. Raises `Broken`."""
    end = file.seek(0, 2)
    head, given = at, _Given()
    while (block := _block(file, at)) and (info := _parsed(block, at)):
        if info.type in _LONG or info.type in _PAX:
            _take(given, info, file, at)
            at += BLOCK + _rounded(info.size)
            continue
        member, at = _member(info, given, block, file, head, at)
        if min(at, ends := member.at + member.size) > end:
            yield replace(member, reason=f"cut off: it would end at byte {ends}, and the tar ends at byte {end}")
            return
        if not info.isdir():
            yield member
        head, given = at, _Given()


def _block(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(BLOCK)


def _parsed(block: bytes, at: int) -> tarfile.TarInfo | None:
    """A header. `None` at the end of the tar."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if block.count(0) == BLOCK:
            return None
        packed = "; a packed tar is not read" if at == 0 else ""
        raise Broken(f"no header of a tar at byte {at} ({error}){packed}") from None
    if info.size < 0:
        raise Broken(f"a size below zero at byte {at}")
    return info


def _take(given: _Given, info: tarfile.TarInfo, file: BinaryIO, at: int) -> None:
    """Reads a header that says more of the member that follows."""
    given.count += 1
    if info.size > MAX_HEADER_BYTES or given.count > MAX_HEADERS:
        raise Broken(f"a header of {info.size} bytes at byte {at}, or more than {MAX_HEADERS} for one member")
    data = file.read(info.size)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        given.name = data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
        _take_attributes(given, data, at)


def _take_attributes(given: _Given, data: bytes, at: int) -> None:
    start = 0
    while found := _ATTRIBUTE.match(data, start):
        if (length := int(found[1])) <= found.end() - start:
            raise Broken(f"a damaged header at byte {at}")
        value = data[found.end() : start + length - 1]
        if found[2] == b"path":
            given.name = value.decode("utf-8", "surrogateescape")
        elif found[2] == b"size":
            if not re.fullmatch(rb"[0-9]{1,18}", value):
                raise Broken(f"a damaged header at byte {at}")
            given.size = int(value)
        given.sparse |= found[2].startswith(b"GNU.sparse")
        start += length


def _member(
    info: tarfile.TarInfo, given: _Given, block: bytes, file: BinaryIO, head: int, at: int
) -> tuple[Member, int]:
    """The member, and where the next header is."""
    name = info.name if given.name is None else given.name
    size = info.size if given.size is None else given.size
    data = at + BLOCK
    extended = info.type == tarfile.GNUTYPE_SPARSE and block[482]
    while extended:
        more = _block(file, data)
        data, extended = data + BLOCK, len(more) == BLOCK and more[504]
    holds_data = (
        info.type in _REGULAR or info.type not in tarfile.SUPPORTED_TYPES or info.type == tarfile.GNUTYPE_SPARSE
    )
    reason = _reason(info, name, given.sparse)
    return Member(name.removeprefix("./"), head, data, size, reason), data + (_rounded(size) if holds_data else 0)


def _reason(info: tarfile.TarInfo, name: str, sparse: bool) -> str | None:
    if info.issym() or info.islnk():
        return "a link"
    if sparse or info.type == tarfile.GNUTYPE_SPARSE:
        return "a sparse file"
    if info.type not in _REGULAR:
        return "no regular file"
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or len(name) > MAX_NAME_CHARS:
        return "a name that leads elsewhere"
    return None if name.isprintable() else "a name that cannot be printed"


def _rounded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
