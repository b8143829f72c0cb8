"""The command line as a process."""

import os
import subprocess
import sys
import tempfile

from tests.support.forked import Forked, forker

ENDS_S = 100
"""pytest ends a test after 120."""


def blip_serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`blip-serve` with `arguments`, run to its end: forked, but with variables that may be read at an import."""
    if not all(name == "COLUMNS" or name.startswith("BLIP_") for name in environment):
        return started(*arguments, **environment)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors, open(os.devnull) as nothing:
        files = [nothing.fileno(), out.fileno(), errors.fileno()]
        process = Forked(forker().socket, "blip_serve", arguments, files, os.environ | {"COLUMNS": "200"} | environment)
        code = process.wait(ENDS_S)
        for written in (out, errors):
            written.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), errors.read())


def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same, started anew. What it finds out is kept in the hub's cache, if one is set."""
    kept = {"XDG_DATA_HOME": environment["HF_HOME"]} if "HF_HOME" in environment else {}
    return subprocess.run(
        [sys.executable, "-m", "blip_serve", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        env=os.environ | {"COLUMNS": "200"} | kept | environment,
    )
