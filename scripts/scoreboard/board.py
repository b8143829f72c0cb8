"""What every part gets: servers to test, and a place to write rows to."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.process import Server, running

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "scoreboard"
QUIET: Mapping[str, Any] = {"log": {"format": "json"}, "device": "cpu", "dtype": "float32", "catalogue": False}
"""Settings of every server here: the same on every machine, and offline."""
FAKE: Mapping[str, Any] = {"id": "scoreboard/fake", "aliases": ["demo-captioning", "demo-vqa"], "preload": True}
"""The one model of a server whose model is fake; it goes by the names that the OpenAPI document's examples use."""


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement that `part` tests, and the result."""

    part: str
    what: str
    asked: str
    seen: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Board:
    """One run. `quick`: short versions, which only test that the parts themselves work."""

    quick: bool
    file: Path
    """A line of JSON a row, written when it is known."""

    def add(self, part: str, what: str, asked: str, seen: str, passed: bool) -> None:
        """Prints and writes a row."""
        row = Row(part, what, asked, seen, passed)
        print(f"{part} | {what} | {asked} | {seen} | {'yes' if passed else 'NO'}", flush=True)
        with self.file.open("a") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")

    @contextmanager
    def serve(
        self, name: str, settings: Mapping[str, Any], *, fake_step_s: float | None = None, port: int | None = None
    ) -> Iterator[Server]:
        """`blip-serve serve` as a process, ready; its log is `log_of(name)`.

        `fake_step_s`: serve a fake model in place of the embedded checkpoints. Seconds that one of its steps takes.
        """
        config = BUILD / f"{name}.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        models = {} if fake_step_s is None else {"models": [FAKE]}
        config.write_text(yaml.safe_dump({**QUIET, **models, **settings}))
        ours = ["-m", "blip_serve", "serve"]
        command = ours if fake_step_s is None else ["-m", "scoreboard.launch", "--fake-step-s", str(fake_step_s)]
        with running([*command, "--config", str(config)], "/readyz", log_of(name), port) as server:
            yield server


def log_of(name: str) -> Path:
    """What a server of that name wrote."""
    return BUILD / "logs" / f"{name}.log"


def read(file: Path) -> tuple[dict[str, str], list[Row]]:
    """The machine, and the rows of a file."""
    first, *rows = file.read_text().splitlines()
    return json.loads(first)["machine"], [Row(**json.loads(row)) for row in rows]
