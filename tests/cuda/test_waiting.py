"""`launch` returns at once: nothing in it makes the host wait for the card, in any phase."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.domain import AnyModel, Work
from blip_serve.models import checkpoint as opening
from tests.cuda.items import MODELS, PHASES, checkpoint, items
from tests.support.card import CARD, Card, HiddenSynchronisation, OnCard, pretended
from tests.support.checkpoints import Kind
from tests.support.loading import load
from tests.support.running import run

NOTHING_KEPT = {"cache_tokens_bytes": 0, "cache_vectors_bytes": 0}
"""So that images are encoded once more."""
Strict = Callable[[], AbstractContextManager[None]]


@contextmanager
def synchronising_is_an_error() -> Iterator[None]:
    """Torch's own watch."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watch(model: AnyModel, strict: Strict) -> set[str]:
    """Has the model launch within `strict`; the phases it launches."""
    launch, phases = model.launch, set[str]()

    def watched(works: Sequence[Work]) -> Any:
        phases.add(works[0].phase)
        with strict():
            return launch(works)

    model.launch = watched  # type: ignore[method-assign]
    return phases


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", MODELS)
def test_no_launch_waits_for_the_card(kind: Kind, dtype: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA card")
    model = load(MODELS[kind], checkpoint(tmp_path, kind), device="cuda", dtype=dtype, images=NOTHING_KEPT)
    first = run(model, *items(kind))  # libraries begin by waiting
    phases = watch(model, synchronising_is_an_error)
    assert run(model, *items(kind)) == first
    assert phases == PHASES[kind]


@pytest.mark.parametrize("kind", MODELS)
def test_no_launch_waits_for_a_pretended_card(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_device", lambda _: pretended())
    with Card() as card, torch.no_grad():  # inference mode is not for tensors that are wrapped
        model = load(MODELS[kind], checkpoint(tmp_path, kind), images=NOTHING_KEPT)
        loads = model.missing(["explain"])
        assert loads is not None
        loads()  # as the service does before the first launch
        for name in ("launch", "collect"):
            method = getattr(model, name)
            monkeypatch.setattr(model, name, partial(method.__func__.__wrapped__, method.__self__))
        phases = watch(model, card.strictly)
        run(model, *items(kind))
    assert phases == PHASES[kind]


def on_card(*numbers: Any) -> torch.Tensor:
    return OnCard(torch.tensor(numbers))


MATRIX = ([1.0, 2.0], [3.0, 4.0])
WAITS: dict[str, Callable[[torch.Tensor], object]] = {
    "a value is read": lambda x: x[0, 0].item(),
    "a truth is read": lambda x: bool(x[0, 0] > 1),
    "a list as an index": lambda x: x[[0, 1]],
    "an index of the host's": lambda x: x[torch.tensor([0])],
    "a mask as an index": lambda x: x[x > 2],
    "a number put at places": lambda x: x.__setitem__((on_card(0), 1), 5.0),
    "numbers put at places of a list": lambda x: x.__setitem__([0, 1], on_card(5.0, 6.0)),
    "a copy to the host": lambda x: x.cpu(),
    "a copy to the card": lambda x: torch.zeros(3).to(CARD),
    "a tensor of the host's": lambda x: x + torch.ones(2),
}
GOES_ON: dict[str, Callable[[torch.Tensor], object]] = {
    "a number in a slice": lambda x: x.__setitem__((slice(None), 0), 5.0),
    "numbers filled in": lambda x: x[:, 1].index_fill_(0, on_card(0), 5.0),
    "numbers put at places": lambda x: x.__setitem__(on_card(0), on_card(5.0, 6.0)),
    "one number of the card's put at a place": lambda x: x.__setitem__((on_card(0), 1), on_card(5.0)),
    "a range": lambda x: x[torch.arange(2, device=x.device)],
    "a mask to fill by": lambda x: x.masked_fill(x > 2, 0),
    "numbers of Python's": lambda x: torch.where(x < 1, x * 2, x / 3),
}


@pytest.mark.parametrize("waits", WAITS)
def test_a_pretended_card_knows_what_waits(waits: str) -> None:
    with Card() as card, card.strictly(), pytest.raises(HiddenSynchronisation):
        WAITS[waits](on_card(*MATRIX))


@pytest.mark.parametrize("goes_on", GOES_ON)
def test_a_pretended_card_knows_what_goes_on(goes_on: str) -> None:
    with Card() as card, card.strictly():
        GOES_ON[goes_on](on_card(*MATRIX))


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("name", [*WAITS, *GOES_ON])
def test_a_card_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA card")
    made: dict[tuple[Any, ...], torch.Tensor] = {}
    for numbers in (MATRIX, (0,), (5.0,), (5.0, 6.0)):  # brought there before it counts
        made[numbers] = torch.tensor(numbers, device="cuda")
    monkeypatch.setattr(f"{__name__}.on_card", lambda *numbers: made[numbers])
    monkeypatch.setattr(f"{__name__}.CARD", torch.device("cuda"))
    with synchronising_is_an_error():
        if name in GOES_ON:
            GOES_ON[name](made[MATRIX])
        else:
            with pytest.raises(RuntimeError):
                WAITS[name](made[MATRIX])
