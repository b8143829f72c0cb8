"""What `models --fit` says of memory against what a fresh process takes, at full size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoints import BASE, LARGE, build

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]
SIZES = {"base": BASE, "large": LARGE}


@pytest.fixture(scope="module", params=["base", pytest.param("large", marks=pytest.mark.long)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp(request.param), SIZES[request.param])


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.long)])
def test_memory_is_within_15_percent_of_what_was_foretold(folder: Path, dtype: str) -> None:
    command = [sys.executable, "-m", "tests.support.footprints", str(folder), dtype]
    threads = {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | threads)
    for name, found in json.loads(done.stdout).items():
        ratio = found["seen"] / found["foretold"]
        print(f"{folder.name} {dtype} {name}: {found} {ratio:.3f}")
        assert 0.85 < ratio < 1.15
