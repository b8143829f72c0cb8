"""`python -m journeys`: traces three requests through the service, and prints the files and hand-overs of each.

It traces the `blip_serve` that `PYTHONPATH` has first, so that two checkouts can be compared. A hand-over is a call
from one file of the package to another, or from a library or a new thread into the package. Every call counts, so a
caption has more the more tokens it has; `edges` are the different (from, to) among them.
"""

import argparse
import base64
import http.client
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image

import blip_serve
from blip_serve.api.app import create_app
from blip_serve.api.server import uvicorn_config
from blip_serve.catalogue import EMBEDDED
from blip_serve.settings import LogSettings, Settings
from journeys.trace import Journey, Tracer

PACKAGE = Path(blip_serve.__file__).parent
ROOT = PACKAGE.parents[1]
KNOWN = (EMBEDDED / "pictures" / "red-circle.png").read_bytes()
CAPTIONS = ["a large red circle", "a large blue circle"]
WARM = 3
"""Requests of each kind before the one that is traced: they load what is loaded late."""
QUIET_S = 0.3
"""Between requests, so that the end of one is not counted with the next."""


def main() -> None:
    """Serves in this process, on the embedded checkpoints."""
    parser = argparse.ArgumentParser(prog="journeys", description=__doc__)
    parser.add_argument("--edges", action="store_true", help="also the hand-overs, file by file, with their counts")
    edges = parser.parse_args().edges
    tracer = Tracer(PACKAGE)
    print(f"{PACKAGE}")
    with _serving() as port:
        for name, (path, bodies) in _journeys().items():
            for _ in range(WARM):
                _ask(port, path, next(bodies))
            time.sleep(QUIET_S)
            with tracer.recording() as journey:
                _ask(port, path, next(bodies))
                time.sleep(QUIET_S)  # what the service does once the answer is out belongs to the request
            _print(name, journey, edges)
    _print_lines()


def _journeys() -> dict[str, tuple[str, Iterator[dict[str, Any]]]]:
    """By name: the path, and bodies without end."""
    known, fresh = _data_url(KNOWN), _fresh()

    def caption() -> Iterator[dict[str, Any]]:
        for image in fresh:
            content = [{"type": "image_url", "image_url": {"url": image}}]
            yield {"messages": [{"role": "user", "content": content}], "stream": True}

    def match() -> Iterator[dict[str, Any]]:
        while True:
            yield {"images": [known], "captions": CAPTIONS}

    def rerank() -> Iterator[dict[str, Any]]:
        for image in fresh:
            documents = [{"image": each} for each in (known, image, next(fresh))]
            yield {"query": CAPTIONS[0], "documents": documents, "shortlist": 2}

    return {
        "match of a known image": ("/v1/match", match()),
        "caption stream of a new image": ("/v1/chat/completions", caption()),
        "rerank of images, known and new, with a shortlist": ("/v1/rerank", rerank()),
    }


def _fresh() -> Iterator[str]:
    """Pictures that nobody was given before: the known one, with a pixel of another colour."""
    for number in range(1 << 24):
        image = Image.open(BytesIO(KNOWN)).convert("RGB")
        image.putpixel((0, 0), (number >> 16, number >> 8 & 255, number & 255))
        file = BytesIO()
        image.save(file, "png")
        yield _data_url(file.getvalue())


def _data_url(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


@contextmanager
def _serving() -> Iterator[int]:
    """The service on a port of loopback, its models loaded."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    app = create_app(Settings(log=LogSettings(level="error"), catalogue=False, device="cpu"))
    server = uvicorn.Server(uvicorn_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not (server.started and not app.state.tasks.not_ready()):
            time.sleep(QUIET_S)
        yield port
    finally:
        server.should_exit = True
        thread.join()


def _ask(port: int, path: str, body: dict[str, Any]) -> None:
    """Raises `RuntimeError` for an answer other than 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {content!r}")


def _print(name: str, journey: Journey, edges: bool) -> None:
    found = Counter(journey.hand_overs)
    print(f"\n{name}: {len(journey.files)} files, {found.total()} hand-overs, {len(found)} edges")
    layers: dict[str, list[str]] = {}
    for file in journey.files:
        layers.setdefault(file.partition("/")[0] if "/" in file else ".", []).append(file.rpartition("/")[2])
    for layer, files in layers.items():
        print(f"  {layer:8} {len(files):3}  {' '.join(file.removesuffix('.py') for file in files)}")
    for (caller, called), count in found.most_common() if edges else ():
        print(f"  {count:6} {caller or '(library)'} -> {called}")


def _print_lines() -> None:
    """Lines of Python in `src` and `scripts` of the checkout."""
    for folder in ("src", "scripts"):
        listed = subprocess.run(
            ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
        files = [ROOT / name for name in listed if name.endswith(".py")]
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        print(f"\n{folder}: {lines} lines in {len(files)} files", end="")
    print()


if __name__ == "__main__":
    main()
