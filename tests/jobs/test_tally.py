"""The tally: counts, scores, and the best and worst rows."""

import json

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import Dropped, Existing, Failed, Kept, Outcome, Processed, Row
from blip_serve.jobs.tally import EXTREMES, NAMES, Tally


def processed(number: int, outcome: Outcome | None = None) -> Processed:
    return Processed(Row(number, f"row {number}", {}), outcome or Kept({}))


def test_every_row_counts_once_whatever_became_of_it() -> None:
    tally = Tally()
    outcomes: list[Outcome] = [Kept({}), Dropped("low", {}), Existing(), Failed(InvalidInput("", code="bad"))]
    for number, outcome in enumerate(outcomes):
        tally.add(processed(number, outcome), labels=["web"])
    assert (tally.rows, tally.kept, tally.existing) == (4, 1, 1)
    assert (tally.dropped, tally.failed, tally.labels) == ({"low": 1}, {"bad": 1}, {"web": 4})


def test_scores_fall_into_bins_and_the_best_and_worst_are_kept_in_order() -> None:
    tally = Tally()
    for number in range(100):
        tally.add(processed(number), score=number / 100)
    tally.add(processed(100), score=float("nan"))
    assert tally.bins == dict.fromkeys(range(20), 5)
    assert [number for _, number, _ in tally.best] == list(range(99, 99 - EXTREMES, -1))
    assert [number for _, number, _ in tally.worst] == list(range(EXTREMES))


def test_scores_beyond_the_bins_count_in_the_outer_ones() -> None:
    tally = Tally()
    for number, score in enumerate([-5.0, 1.0, 1e300]):
        tally.add(processed(number), score=score)
    assert tally.bins == {-20: 1, 19: 2}


def test_of_equal_scores_the_earlier_row_is_the_better_and_the_worse() -> None:
    tally = Tally()
    for number in (3, 1, 2):
        tally.add(processed(number), score=0.5)
    assert [number for _, number, _ in tally.best] == [number for _, number, _ in tally.worst] == [1, 2, 3]


def test_merged_parts_are_the_whole_and_survive_json() -> None:
    whole, merged = Tally(), Tally()
    for start in range(0, 90, 30):
        part = Tally()
        for number in range(start, start + 30):
            for tally in (whole, part):
                tally.add(processed(number), score=(number * 37 % 90) / 90)
        merged.merge(Tally.of_json(json.loads(json.dumps(part.to_json()))))
    assert merged == whole


def test_rows_taken_up_again_no_longer_count_as_failed() -> None:
    first, again = Tally(), Tally()
    first.add(processed(0, Failed(InvalidInput("", code="bad"))))
    first.add(processed(1, Failed(InvalidInput("", code="bad"))))
    again.take_back(["bad"])
    again.add(processed(0))
    first.merge(again)
    assert (first.rows, first.kept, first.failed) == (2, 1, {"bad": 1})


def test_names_beyond_the_first_count_as_others() -> None:
    merged = Tally()
    for start in (0, 40, 80):
        part = Tally()
        for number in range(start, start + 60):
            failed = Failed(InvalidInput("", code=f"code {number}"))
            part.add(processed(number, failed), labels=[f"label {number}"])
            part.add(processed(number, Dropped(f"reason {number}", {})))
        merged.merge(Tally.of_json(json.loads(json.dumps(part.to_json()))))
    for counts in (merged.failed, merged.dropped, merged.labels):
        assert len(counts) == NAMES + 1
        assert (counts.total(), counts["other"]) == (180, 180 - NAMES - 10)
    again = Tally()
    again.take_back(["code 0", "code 139"])
    merged.merge(again)
    assert (merged.failed["code 0"], merged.failed["other"], merged.failed.total()) == (0, 119, 178)
