"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """Numbers are written with three places."""
    written = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *written)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])
