"""Parts of the tables that commands print: names of files, which break between words, and texts without markup."""

import re
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from blip_serve.telemetry import printable

SHOWN = 60
"""Characters of a data URI that are shown."""
BREAKS = ("/", "-_.,; ")
"""Characters after which a name may break. The second group is used only if the first is not enough."""


class Name:
    """A file's name or a URL. It breaks after a `/`, or else after another character of `BREAKS`."""

    def __init__(self, name: str) -> None:
        is_data = name[:5].lower() == "data:" and len(name) > SHOWN
        self._text = f"{name[:SHOWN]}..." if is_data else printable(name)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(cell_len(self._text), options.max_width)
        return Measurement(min(width, max(map(cell_len, _parts(self._text, "".join(BREAKS))), default=0)), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("\n".join(broken(self._text, options.max_width)))


def broken(text: str, width: int, marks: Sequence[str] = BREAKS) -> list[str]:
    """`text` in lines of at most `width` cells. Breaks a word only if it is wider than a line."""
    if cell_len(text) <= width:
        return [text]
    if not marks:
        return chop_cells(text, width)
    lines: list[str] = []
    for part in _parts(text, marks[0]):
        if lines and cell_len(lines[-1] + part) <= width:
            lines[-1] += part
        else:
            lines += broken(part, width, marks[1:])
    return lines


def words(text: str) -> Text:
    """A text from the user. Brackets in it are not markup."""
    return Text(printable(text), overflow="fold")


def table_of(title: str) -> Table:
    """An empty table under a title."""
    return Table(title=Text(title), title_justify="left")


def _parts(text: str, marks: str) -> list[str]:
    """The text in pieces. Each piece ends after one or more of `marks`."""
    any_of = re.escape(marks)
    return re.findall(rf"[^{any_of}]*[{any_of}]+|[^{any_of}]+", text)
