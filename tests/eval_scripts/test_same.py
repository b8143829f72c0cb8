"""`eval retrieval` has the ranks of the script written apart, in both directions and by both protocols."""

from pathlib import Path

import pytest

from eval.drawn import shapes
from eval.official import Protocol
from eval.same import compared

K = 16


@pytest.mark.parametrize("pictures", [40, pytest.param(1000, marks=[pytest.mark.full, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("protocol", ["hf", "paper"])
def test_every_rank_is_the_same_but_between_scores_that_lie_together(
    tmp_path: Path, protocol: Protocol, pictures: int
) -> None:
    found = compared(shapes(tmp_path, pictures), K, protocol)
    for each in found.values():
        assert each.wrong == []
        assert each.near <= 0.02 * each.equal
