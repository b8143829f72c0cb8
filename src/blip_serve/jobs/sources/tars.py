"""Tars as WebDataset writes them as rows: a sample a row. Nothing is unpickled, and no file is made of a member."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from blip_serve.images.header import HEAD_BYTES, sniff
from blip_serve.jobs.rows import Cut, Row
from blip_serve.jobs.sources.files import open_file
from blip_serve.jobs.sources.folder import SUFFIXES
from blip_serve.jobs.sources.record_files import RecordFiles
from blip_serve.jobs.sources.records import failed
from blip_serve.jobs.sources.references import picture_of
from blip_serve.jobs.sources.samples import Sample, samples_of
from blip_serve.jobs.sources.strict_json import NotAnObject, json_object
from blip_serve.jobs.sources.tar_members import Member

TEXTS = ("txt", "text", "caption")
"""Endings of members that hold text: columns of that name."""


@dataclass(frozen=True, slots=True)
class Tars(RecordFiles):
    """The samples of tars that are not packed. A row's key is tar and sample, such as `00001.tar:000010042`.

    The picture is the member with `columns.picture` as its ending, or else the first whose ending or content is that of
    a picture. `.json` holds columns, and so does each text. Other members are ignored. A sample over
    `records.max_row_bytes`, or with a link, a device or a name that leads elsewhere, is a row with an `error`. A tar
    that is damaged ends in such a row: its last sample may lack members.
    """

    def _spans(self, file: BinaryIO, size: int) -> Iterator[tuple[int, ...]]:
        return _spans(file, size)

    def _rows(self, cut: Cut) -> Iterator[Row]:
        number, offset = cut.where
        with open_file(self.files.paths[number]) as file:
            for index, sample in enumerate(samples_of(file, offset), cut.start):
                yield self._row(index, f"{self.files.names[number]}:{sample.name}", sample, file)

    def _row(self, number: int, place: str, sample: Sample, file: BinaryIO) -> Row:
        if sample.reason:
            return failed(number, place, sample.reason, "invalid_tar")
        kept = self._kept(sample, file)
        if sum(member.size for member in kept.values()) > self.records.max_row_bytes:
            return failed(
                number, place, f"the sample is larger than {self.records.max_row_bytes} bytes", "row_too_large"
            )
        data = {ending: _data(file, member) for ending, member in kept.items()}
        picture = next((ending for ending in data if ending not in (*TEXTS, "json")), None)
        try:
            fields = _fields(data)
        except (NotAnObject, UnicodeDecodeError) as error:
            return failed(number, place, f"the sample's text or JSON holds {error}", "invalid_json")
        value = None if picture is None else data[picture]
        return self.records.keyed(number, place, fields, picture_of(value, "", 0, picture or ""))

    def _kept(self, sample: Sample, file: BinaryIO) -> dict[str, Member]:
        """The members to read: the picture and those with columns."""
        picture = self.records.columns.picture or _picture(sample, file)
        wanted = (*TEXTS, "json", picture)
        return {ending: member for ending, member in sample.members.items() if ending in wanted}


def _spans(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    offset = count = 0
    for sample in samples_of(file):
        offset, count = (offset, count + 1) if count else (sample.at, 1)
        if count == size:
            yield offset, count
            count = 0
    if count:
        yield offset, count


def _picture(sample: Sample, file: BinaryIO) -> str | None:
    others = [ending for ending in sample.members if ending not in (*TEXTS, "json")]
    named = (ending for ending in others if ending.rpartition(".")[2] in SUFFIXES)
    shown = (ending for ending in others if sniff(_data(file, sample.members[ending], HEAD_BYTES)))
    return next(named, None) or next(shown, None)


def _fields(data: Mapping[str, bytes]) -> dict[str, Any]:
    texts = {ending: data[ending].decode("utf-8") for ending in TEXTS if ending in data}
    return {**(json_object(data["json"]) if "json" in data else {}), **texts}


def _data(file: BinaryIO, member: Member, limit: int | None = None) -> bytes:
    file.seek(member.at)
    return file.read(member.size if limit is None else min(limit, member.size))
