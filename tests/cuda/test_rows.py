"""The rows of `scripts/gpu`: what their notes say, and that those of the device alone can be measured anywhere."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bench.traffic import Traffic
from gpu import budgets, decode, embedding, measure, served, steps, tower
from gpu.place import Place
from gpu.rows import Row

TRIAL = Place(on_card=False)
OF_THE_DEVICE = {"tower": tower.rows, "decode": decode.rows, "budgets": budgets.rows}


@pytest.mark.parametrize("name", OF_THE_DEVICE)
def test_a_trial_measures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower, "BATCHES", {False: (1, 2)})
    monkeypatch.setattr(tower, "ROUNDS", 1)
    monkeypatch.setattr(decode, "SEQUENCES", {False: (1, 2)})
    monkeypatch.setattr(decode, "TOKENS", 3)
    monkeypatch.setattr(budgets, "IMAGES", {False: 2})
    found = list(OF_THE_DEVICE[name](TRIAL))
    assert len(found) >= 2
    for row in found:
        assert row.launching_ms is not None
        assert 0 < row.launching_ms <= row.ms
        assert math.isfinite(row.rate)
        assert row.device_ms is None


@pytest.mark.full
@pytest.mark.parametrize("rows", [steps.matching, steps.writing_and_ranking, served.rows, embedding.rows])
def test_a_trial_measures_the_rest(rows: Callable[[Place], Iterator[Row]]) -> None:
    assert all(row.rate > 0 for row in rows(TRIAL))


@pytest.mark.parametrize("each", [*steps.MATCHING, *steps.WRITING], ids=lambda each: each.name)
def test_a_pass_has_as_many_units_as_it_says(each: steps.Pass) -> None:
    items = each.items([b"picture"] * each.pictures)
    assert sum(len(getattr(one, "captions", (one,))) for one in items) == each.count


def test_graphs_win_only_what_launching_takes_beyond_the_device() -> None:
    assert decode.without_launching(whole=5.0, launching=4.0, device=1.0) == 2.0
    assert decode.without_launching(whole=5.0, launching=2.0, device=4.0) == 5.0
    row = decode.row_of("large float16", 256, decode.Steps([0.005], [0.004], [0.001]))
    assert row.rate == pytest.approx(51_200)
    assert row.device_ms == 1.0
    assert row.note == "by CUDA graphs at most 2.50x"


def test_the_least_budget_that_fills_the_card_is_marked() -> None:
    rows = [
        Row(f"cost {cost}", "large float16", 100, ms, note="steps") for cost, ms in ((1, 200.0), (2, 101.0), (4, 100.0))
    ]
    notes = [row.note for row in budgets.marked(rows)]
    assert notes == [
        "steps; 50% of the best",
        "steps; 99% of the best, the least that fills the card",
        "steps; 100% of the best",
    ]


def test_a_bulk_run_is_bound_by_the_slower_of_its_parts() -> None:
    assert "bound by decoding, 90% of that" in embedding.bound(rate=900, decoded=1000, encoded=2000)
    assert "bound by the tower, 50% of that" in embedding.bound(rate=500, decoded=2000, encoded=1000)


def test_of_one_client_a_request_is_timed_and_of_many_all_together() -> None:
    traffic = Traffic(latencies=[0.01, 0.02, 0.03], errors=1, seconds=0.05)
    alone, together = (served.row_of("large float16", clients, traffic) for clients in (1, 3))
    assert (alone.count, together.count) == (1, 3)
    assert [alone.ms, together.ms] == pytest.approx([20, 50])
    assert together.note.endswith("1 not answered with 200")


def test_what_finds_no_time_or_fails_is_said_and_the_rest_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("a", "b", 1, 1.0)

    def quick(place: Place) -> Iterator[Row]:
        yield replace(row, note="measured")

    def broken(place: Place) -> Iterator[Row]:
        yield row
        raise RuntimeError("out of memory")

    failed: list[str] = []
    monkeypatch.setattr(measure, "GROUPS", [(quick, 1000), (broken, 0), (quick, 0)])
    found = list(measure.measure(TRIAL, time.monotonic() + 500, failed.append))
    assert [each.note for each in found] == ["", "measured"]
    assert "quick is left out" in capsys.readouterr().out
    assert failed == [f"{__name__}.broken: RuntimeError('out of memory')"]
