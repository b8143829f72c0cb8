"""What every sink is: parts, one a segment, and what they are joined to at the end."""

from collections.abc import Iterable
from typing import Protocol

from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import Fields, Row


class Part(Protocol):
    """The output of one segment while it is written. Rows are added in order. End it by `commit` or by `discard`."""

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Adds a row. `picture`: there where `needs_picture`. `fields`: its columns to write, those of the source
        and those of the operator.

        Raises `InvalidInput` for a row that the format cannot hold; the part is then as before.
        """
        ...

    def commit(self) -> None:
        """Puts the part in its place, durably: written and synced under another name, then renamed. Repeatable: it
        replaces what an interrupted run left."""
        ...

    def discard(self) -> None:
        """Leaves nothing behind."""
        ...


class Sink(Protocol):
    """Where rows go. A frozen, picklable dataclass; several processes may write different parts at once."""

    @property
    def needs_picture(self) -> bool:
        """Whether `Part.add` must be given the row's picture."""
        ...

    def has(self, row: Row) -> bool:
        """Whether the row's output was there before the run, and shall be left as it is (sidecars)."""
        ...

    def part(self, name: str) -> Part:
        """A new part. `name`: digits, unique in the run; names sort in the order of the rows."""
        ...

    def join(self, names: Iterable[str]) -> None:
        """Makes the destination of the committed parts, if it is one file. Repeatable. Deletes no part."""
        ...

    def clean(self, names: Iterable[str]) -> None:
        """Deletes parts that `join` made superfluous, and left-overs of interrupted writes."""
        ...
