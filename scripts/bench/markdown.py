"""Tables in Markdown."""

from collections.abc import Iterator, Sequence


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], marks: str = "") -> Iterator[str]:
    """`marks`: a letter a column, `r` for numbers."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "|".join("---:" if mark == "r" else "---" for mark in marks or "l" * len(heads)) + "|"
    for line in lines:
        yield "| " + " | ".join(line) + " |"
