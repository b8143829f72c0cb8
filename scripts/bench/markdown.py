"""Tables and numbers in Markdown."""

from collections.abc import Iterator, Sequence


def table(heads: Sequence[str], lines: Sequence[Sequence[str]], marks: str = "") -> Iterator[str]:
    """`marks`: a letter a column, `r` for numbers."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "|".join("---:" if mark == "r" else "---" for mark in marks or "l" * len(heads)) + "|"
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def number(value: float) -> str:
    """Three digits of it, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
