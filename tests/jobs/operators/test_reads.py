"""Columns that the source does not have."""

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.match import MatchOperator
from blip_serve.jobs.operators.reads import check_reads


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (["url", "caption"], "Is it 'caption'"),
        (["alt", "url"], "It has alt, url"),
        ([], "none beside"),
        ([f"{i}" for i in range(30)], r"\.\.\."),
    ],
)
def test_a_column_that_is_not_there_ends_the_run_before_it_begins(columns: list[str], hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        check_reads(MatchOperator("captoin"), columns)


def test_columns_that_are_there_are_fine() -> None:
    check_reads(MatchOperator("alt"), {"alt": "string"})
    check_reads(CaptionOperator(), [])
