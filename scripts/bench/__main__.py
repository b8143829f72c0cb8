"""`python -m bench`: measures groups of rows, and says on what machine."""

import argparse
import re
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import torch

from bench.bench import CACHE, Bench
from bench.machine import describe
from bench.measure import Results
from bench.pictures import Pictures
from bench.report import write
from bench.rows import (
    background,
    captions,
    clients,
    continuous,
    embeddings,
    gateway,
    growth,
    load,
    memory,
    pairs,
    startup,
    vision,
)
from blip_serve.allocator import keep_memory
from blip_serve.models.device import open_device
from blip_serve.settings import Settings

GROUPS: tuple[ModuleType, ...] = (
    pairs,
    vision,
    captions,
    clients,
    embeddings,
    gateway,
    load,
    growth,
    continuous,
    background,
    memory,
    startup,
)
LONG = {"embeddings", "load", "growth", "continuous", "background", "memory", "startup"}
"""Groups that a quick run leaves out, unless it is asked for them."""
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs the groups asked for, or all."""
    groups = {module.__name__.rpartition(".")[2]: module for module in GROUPS}
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(groups)}; all by default")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--quick", action="store_true", help="base size only, few repeats, no long groups; kept in build/bench"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(groups):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")

    keep_memory()  # as `serve` does, for what is measured in this process
    machine = describe(arguments.device)
    for key, value in machine.items():
        print(f"{key}: {value}")
    whole = not (arguments.quick or arguments.groups)
    file = (RESULTS if whole else CACHE) / f"{_name(machine)}.jsonl"
    dtype = str(open_device(Settings(device=arguments.device)).dtype).removeprefix("torch.")
    bench = Bench(arguments.device, dtype, arguments.quick, Results(file, machine), Pictures())
    started = time.monotonic()
    for name in arguments.groups or [name for name in groups if not (arguments.quick and name in LONG)]:
        groups[name].run(bench)
        print(f"-- {name}: {time.monotonic() - started:.0f} s since the start", flush=True)
    write(file)
    print(f"rows: {file}; tables and charts beside it")


def _name(machine: dict[str, str]) -> str:
    """Of the results: the card, or the processor's cores and what they multiply."""
    kind = "amx" if "amx_bf16" in machine["flags"] else "avx512" if "avx512f" in machine["flags"] else "plain"
    return re.sub(r"[^a-z0-9]+", "-", machine.get("gpu", f"cpu-{machine['cores']}-cores-{kind}").lower())


if __name__ == "__main__":
    torch.manual_seed(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the sides as well
    main()
