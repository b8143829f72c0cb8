"""What explanations cost the requests of others on the server: pairs of known images, alone and beside explanations.

Pairs come by chance, at a share of the rate that waiting clients reach; windows alone and beside take turns. Beside,
one client asks for one explanation after the other. The delay is in steps: one step of the device that encodes one
image, here and now.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import uvloop

from bench.bench import CACHE, Bench
from bench.bodies import known
from bench.machine import describe
from bench.markdown import table
from bench.measure import Results
from bench.pictures import Pictures, captions, data_url
from bench.traffic import closed_loop
from bulk.beside import one_image_step, percentiles

ASKED = 1.1
"""Steps that the 95th percentile may be worse."""
KNOWN = 16
"""Pictures of the pairs and of the explanations."""
SIZES = (1, 16)
"""Captions an explanation request has."""
PACKAGES = ("torch", "uvicorn")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--captions", type=int, nargs="*", default=SIZES, help="of an explanation request")


def run(options: argparse.Namespace) -> bool:
    """Prints a table. Returns whether the pairs are delayed by no more than is asked for."""
    machine = describe("cpu", PACKAGES)
    bench = Bench("cpu", "auto", False, Results(CACHE / "explain-beside.jsonl", machine), Pictures())
    pictures = bench.pictures.take(KNOWN)
    found = {}
    with bench.serve(bench.checkpoint("base")) as server:
        bodies = known(pictures, captions(KNOWN))
        uvloop.run(closed_loop(server.url, 16, bodies, count=4 * KNOWN))
        step = one_image_step(server.url, pictures[0])
        for size in options.captions:
            asked = [explain_body(picture, captions(size)) for picture in pictures]
            found[size] = percentiles(server.url, bodies, partial(_explanations, server.url, asked))
    print(json.dumps({"machine": machine, "step": step, "found": found}))
    rows = [
        (f"{size} captions", f"{1000 * alone:.0f} ms", f"{1000 * beside:.0f} ms", f"{(beside - alone) / step:+.2f}")
        for size, (alone, beside) in found.items()
    ]
    print("\n".join(table(("explanations of", "p95 alone", "p95 beside", "steps more"), rows, "lrrr")))
    return all((beside - alone) / step <= ASKED for alone, beside in found.values())


def explain_body(picture: bytes, texts: Sequence[str]) -> bytes:
    """For the Grad-CAM of each caption, as one map: the answer is small."""
    return json.dumps({"image": data_url(picture), "captions": texts, "per": "caption"}).encode()


@contextmanager
def _explanations(url: str, bodies: Sequence[bytes]) -> Iterator[None]:
    """One client that asks for one after the other meanwhile, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "explain.asking", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"".join(body + b"\n" for body in bodies))
        process.stdin.close()
        process.stdout.readline()  # the first answer
        yield
        if process.poll() is not None:
            raise RuntimeError("the client of the explanations ended too early")
    finally:
        process.terminate()
        process.wait()
