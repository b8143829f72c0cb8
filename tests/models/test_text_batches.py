"""Texts of all lengths come to be batches of few lengths, none much longer than its text."""

import pytest
import torch
from torch import Tensor

from blip_serve.models.text_batches import FEW, Row, TextBatch, batch_rows, pick, row_indices

POSITIONS = 509
FOLDED = 32


def batch(length: int) -> TextBatch:
    [made] = batch_rows([Row(tuple(range(1, length + 1)))], POSITIONS, FOLDED, _as_it_is).batches
    return made


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def test_lengths_are_few_and_padding_is_masked() -> None:
    seen = set()
    for length in range(1, POSITIONS + 1):
        made = batch(length)
        rows, width = made.ids.shape
        assert rows == 1
        assert length <= width <= min(max(length + 1, 1.25 * length), POSITIONS)
        words = width if made.mask is None else int(made.mask.sum())
        assert words == length
        assert made.ids[0, :length].tolist() == list(range(1, length + 1))
        seen.add(width)
    assert len(seen) < 32


def test_many_rows_are_as_long_as_their_longest() -> None:
    [made] = batch_rows([Row((1,) * 17)] * (FEW + 1), POSITIONS, FOLDED, _as_it_is).batches
    assert made.ids.shape == (FEW + 1, 17)
    assert made.mask is None


@pytest.mark.parametrize("rows", [[2], [1, 2, 3], [0, 2, 1, 3], [3, 1], [0, 2]])
def test_rows_are_picked_in_their_order_and_not_copied_where_they_lie_together(rows: list[int]) -> None:
    there = torch.arange(4)
    found = pick(there, row_indices(rows, _as_it_is))
    assert found.tolist() == rows
    together = rows == sorted(rows) and rows[-1] - rows[0] + 1 == len(rows)
    assert (found.untyped_storage().data_ptr() == there.untyped_storage().data_ptr()) is together
