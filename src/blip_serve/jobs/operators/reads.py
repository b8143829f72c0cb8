"""Checks before a run that the source has the columns that the operator reads: else every row would fail."""

from collections.abc import Collection
from difflib import get_close_matches

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.operators.operator import Operator

NAMED = 20
"""Columns that a message lists."""


def check_reads(operator: Operator, columns: Collection[str]) -> None:
    """Raises `ConfigurationError` naming the first column that is not among the source's `columns`."""
    for column in operator.reads:
        if column not in columns:
            raise ConfigurationError(f"The source has no column '{column}'. {_hint(column, sorted(columns))}")


def _hint(column: str, columns: list[str]) -> str:
    if not columns:
        return "It has none beside the pictures."
    if close := get_close_matches(column, columns[:1000], 1):
        return f"Is it '{close[0]}'?"
    more = ", ..." if len(columns) > NAMED else ""
    return f"It has {', '.join(columns[:NAMED])}{more}."
