"""Ten models of base size in turn, and then at once, under a budget for two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoints import BASE
from tests.support.many import build_many


@pytest.mark.full
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_models_of_base_size_stay_within_a_budget_for_two(tmp_path: Path) -> None:
    folders = build_many(tmp_path, BASE, 10)
    command = [sys.executable, "-m", "tests.support.in_turn", *map(str, folders)]
    threads = {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | threads)
    found = json.loads(done.stdout)
    print({name: found[name] for name in ("budget", "most", "loads")})
    assert len(set(found["first"])) == 10
    assert found["second"] == pytest.approx(found["first"], abs=1e-5)
    assert found["loads"] <= 20
    assert found["most"] < 1.1 * found["budget"]
