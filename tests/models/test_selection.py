"""The choice of next tokens: drawn in the right proportions, from the right ones."""

from typing import Any

import pytest
import torch
from transformers import LogitsProcessorList, MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from blip_serve.domain import GenerationOptions
from blip_serve.models import selection
from blip_serve.models.device import Device
from blip_serve.models.sequences import Sample

CPU = Device(torch.device("cpu"), torch.float32)
LOGITS = torch.tensor([2.0, 0.5, -1.0, 1.5, 0.0])


class Drawn(Sample):
    """A sequence whose lot is given."""

    def __init__(self, lot: float, options: GenerationOptions) -> None:
        self.given = lot
        self.options = options

    @property
    def lot(self) -> float:
        return self.given


def shares(options: GenerationOptions, logits: torch.Tensor = LOGITS) -> torch.Tensor:
    """How often each token is drawn by evenly spread lots."""
    lots = [(i + 0.5) / 2000 for i in range(2000)]
    ids = selection._draw(logits.expand(2000, -1), [Drawn(lot, options) for lot in lots], CPU)
    return torch.bincount(ids, minlength=5) / 2000


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.6, 0.01])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_transformers_would(temperature: float, top_p: float) -> None:
    scores = LOGITS[None] / temperature
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(torch.zeros(1, 1, dtype=torch.long), scores)
    wanted = scores.softmax(dim=-1)[0]
    found = shares(GenerationOptions(temperature=temperature, top_p=top_p))
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=2e-3)


@pytest.mark.parametrize("min_p", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("top_p", [1.0, 0.75])
@pytest.mark.parametrize("top_k", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("logits", [LOGITS, torch.tensor([1.0, 2.0, 1.0, 1.0, -3.0])], ids=["apart", "alike"])
def test_top_k_top_p_and_min_p_leave_what_transformers_would(
    logits: torch.Tensor, top_k: int, top_p: float, min_p: float
) -> None:
    warpers = LogitsProcessorList()
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    warpers.append(MinPLogitsWarper(min_p))
    words: Any = torch.zeros(1, 1, dtype=torch.long)
    wanted = warpers(words, logits[None]).softmax(dim=-1)[0]
    found = shares(GenerationOptions(temperature=1.0, top_k=top_k, top_p=top_p, min_p=min_p), logits)
    assert sorted(found.tolist()) == pytest.approx(sorted(wanted.tolist()), abs=2e-3)  # which of alike ones is chance


def test_each_row_is_narrowed_by_its_own_options() -> None:
    ways = [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-9}, {}]
    rows = [Drawn(0.999, GenerationOptions(temperature=1.0, **way)) for way in ways]  # type: ignore[arg-type]
    assert selection._draw(LOGITS.expand(4, -1), rows, CPU).tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize(("temperature", "top_p"), [(1e-300, 1.0), (1.0, 1e-300), (1e-300, 1e-300)])
def test_the_least_temperature_and_top_p_draw_the_likeliest(temperature: float, top_p: float) -> None:
    assert shares(GenerationOptions(temperature=temperature, top_p=top_p)).tolist() == [1, 0, 0, 0, 0]


def test_the_extreme_lots_draw_tokens_that_are_possible() -> None:
    options = GenerationOptions(temperature=1.0, top_p=0.6)
    ids = selection._draw(LOGITS.expand(2, -1), [Drawn(0.0, options), Drawn(1.0, options)], CPU)
    assert set(ids.tolist()) <= {0, 3}


def test_a_row_that_is_no_number_gets_an_id_of_the_vocabulary() -> None:
    """On CUDA an index out of place is the end of the process."""
    options = GenerationOptions(temperature=1.0, top_p=0.6)
    rows = torch.stack([torch.full_like(LOGITS, torch.nan), LOGITS])
    ids = selection._draw(rows, [Drawn(0.5, options), Drawn(0.5, options)], CPU)
    assert 0 <= ids[0] < 5
    assert ids[1] == 0
