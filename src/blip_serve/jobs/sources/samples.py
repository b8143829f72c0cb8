"""Groups the members of a tar to samples, as WebDataset does: members in sequence whose names differ in the ending."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from blip_serve.jobs.sources.tar_members import Broken, Member, members_of

MAX_MEMBERS = 64
"""Of a sample."""
_NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)", re.DOTALL)
"""A sample's name ends at the first dot after the last slash."""


@dataclass
class Sample:
    """Members by the ending of their names, in lower case. `at`: the offset of the first. `reason`: why it is wrong."""

    name: str
    at: int
    members: dict[str, Member] = field(default_factory=dict)
    reason: str | None = None

    def add(self, ending: str, member: Member) -> None:
        """Adds a member."""
        if member.reason:
            self.reason = f"the member at byte {member.head} is {member.reason}"
        elif ending in self.members or len(self.members) == MAX_MEMBERS:
            self.reason = f"two members end with .{ending}, or there are more than {MAX_MEMBERS}"
        else:
            self.members[ending] = member


def samples_of(file: BinaryIO, at: int = 0) -> Iterator[Sample]:
    """The samples from the header at `at` on. A tar that is broken ends with a sample whose `reason` says where.

    Members whose names have no ending are passed over. A member that must not be read makes its sample wrong.
    """
    sample: Sample | None = None
    try:
        for member in members_of(file, at):
            if not (found := _NAME.fullmatch(member.name)):
                continue
            name = found[1] if member.reason is None else _safe(found[1], member)
            if sample is None or sample.name != name:
                if sample:
                    yield sample
                sample = Sample(name, member.head)
            sample.add(found[2].lower(), member)
    except Broken as error:
        begun = sample or Sample(f"byte {at}", at)
        yield Sample(begun.name, begun.at, reason=f"the tar is damaged: {error}")
    else:
        if sample:
            yield sample


def _safe(name: str, member: Member) -> str:
    """A name to show: that of a member which leads elsewhere must not become a path."""
    return f"byte {member.head}" if "name" in str(member.reason) else name
