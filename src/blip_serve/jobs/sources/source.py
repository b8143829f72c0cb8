"""What every source is: cuts of rows, and the rows of a cut."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from blip_serve.jobs.rows import ColumnType, Cut, Row


class Source(Protocol):
    """A data set that rows are read from, again and again in the same order. Picklable; opens files when it reads.

    Its memory does not grow with the data. What is wrong with one row is the row's `error`; a file that breaks off ends
    in one row with an `error` that names the place, and the next file follows.
    """

    def cuts(self, size: int) -> Iterator[Cut]:
        """Cuts of at most `size` rows, in order. Cheap: it finds where rows begin, and does not parse them.

        Raises `OSError` for a source that cannot be opened, `ConfigurationError` for one that is nothing like it.
        """
        ...

    def rows(self, cut: Cut) -> Iterator[Row]:
        """The rows of a cut: exactly `cut.count`."""
        ...

    def identity(self) -> Mapping[str, str]:
        """What tells whether this is the source of an earlier run: for each file its size and time of change."""
        ...

    def columns(self) -> Mapping[str, ColumnType]:
        """The columns of its rows, for typed sinks. Where the format is not typed: those of the first 1,000 rows."""
        ...

    def count(self) -> int | None:
        """How many rows there are, or `None` if only reading all of it would tell."""
        ...
