"""What commands print: of errors, whose words may be a server's or a data set's, and of scores."""

from pathlib import Path

import pytest

from blip_serve.cli.bulk_report import Progress, print_summary
from blip_serve.cli.one_request import exit_on_error
from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import Failed, Kept, Processed, Row
from blip_serve.jobs.tally import Tally

HOSTILE = InvalidInput("\x1b]0;mine\x07 and\nmore", code="bad")


def test_an_error_s_message_controls_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1)
    progress.row(Processed(Row(0, "a.png", {}), Failed(HOSTILE)))
    progress.close()
    with pytest.raises(SystemExit), exit_on_error():
        raise HOSTILE
    said = capsys.readouterr().err
    assert [line.partition("]")[2] for line in said.splitlines()] == [r"0;mine\x07 and\nmore"] * 2
    assert "\x1b" not in said


def test_the_outer_bars_of_a_histogram_say_that_they_hold_what_is_beyond(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for number, score in enumerate((-7.0, 0.5, 5.5)):
        tally.add(Processed(Row(number, f"row {number}", {}), Kept({})), score)
    print_summary(tally, "aesthetic", Path("rejects"), as_json=False)
    bars = [line.split("│")[1].strip() for line in capsys.readouterr().err.splitlines() if "#" in line]
    assert bars == ["below -0.95", "0.50", "0.95 and more"]
