"""The command line as a process."""

import os
import subprocess
import sys


def blip_serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`blip-serve` with `arguments`, run to its end. What it finds out is kept in the hub's cache, if one is set."""
    kept = {"XDG_DATA_HOME": environment["HF_HOME"]} if "HF_HOME" in environment else {}
    return subprocess.run(
        [sys.executable, "-m", "blip_serve", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,  # pytest ends a test after 120
        env=os.environ | {"COLUMNS": "200"} | kept | environment,
    )
