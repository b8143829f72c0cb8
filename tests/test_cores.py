"""The cores that a process may use."""

import os
from pathlib import Path

import pytest

from blip_serve.cores import usable_cores


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 8), ("350000 100000", 4), ("1600000 100000", 8)])
def test_no_more_than_the_container_has(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota}\n", encoding="utf-8")
    assert usable_cores(tmp_path) == expected
