"""(o), OpenVINO, ready to be asked: its graphs converted, in a process of its own or as a server."""

import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

from bench.bench import Bench
from bench.process import Server
from bench.sides.apart import Apart
from blip_serve.lazily import imported

MATCHER = "bench.sides.openvino_card:OpenVinoMatcher"
"""Imported when first needed: other rows are measured without the extra `bench`."""
REPEATED = "the image's tokens are not repeated: keys and values are made once, attention broadcasts them"


def converted(bench: Bench, folder: Path) -> Path:
    """Where a checkpoint is as OpenVINO's graphs, which takes minutes when it is asked for first."""
    out = bench.cache / "openvino" / f"{folder.name}-{version('openvino')}"
    if not out.exists():
        print(f"making {out}", flush=True)
        partial = out.with_name(f"{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        command = [sys.executable, "-m", "bench.sides.openvino_ir", str(folder), str(partial)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        partial.rename(out)
    return out


def apart(bench: Bench, folder: Path, dtype: str) -> Apart:
    """For one request at a time, each by all cores."""
    return Apart(imported(MATCHER), folder, converted(bench, folder), dtype, "LATENCY")


def server(bench: Bench, folder: Path, dtype: str) -> AbstractContextManager[Server]:
    """For many requests at a time."""
    return bench.other("openvino_server", str(folder), str(converted(bench, folder)), dtype=dtype)
