"""The choice of next tokens: drawn in the right proportions, from the right ones."""

import pytest
import torch
from transformers import TopPLogitsWarper

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


def shares(options: GenerationOptions) -> torch.Tensor:
    """How often each token is drawn by evenly spread lots."""
    lots = [(i + 0.5) / 2000 for i in range(2000)]
    ids = selection._draw(LOGITS.expand(2000, -1), [Drawn(lot, options) for lot in lots], CPU)
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
