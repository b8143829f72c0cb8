"""A checkout of the project, whose service runs as a process from its own `src`."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.bench import CACHE, MODEL
from bench.process import Server, running


@dataclass(frozen=True, slots=True)
class Checkout:
    """`name` tells it from the other: `before` or `after`. Both use this process's packages."""

    name: str
    root: Path

    def check(self) -> None:
        """Raises `RuntimeError` where Python would import another checkout's `blip_serve`."""
        command = [sys.executable, "-c", "import blip_serve; print(blip_serve.__file__)"]
        environment = {**os.environ, **self._environment}
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        if not Path(found).is_relative_to(self.root):
            raise RuntimeError(f"{self.root}: its service is {found}")

    @contextmanager
    def serve(self, folder: Path, **changes: Any) -> Iterator[Server]:
        """`blip-serve serve` for the checkpoint in `folder`, ready, with the settings the checkout ships for a CPU."""
        config = CACHE / f"{self.name}-{folder.name}.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump(self._settings(folder) | changes))
        command = ["-m", "blip_serve", "serve", "--config", str(config)]
        log = CACHE / "logs" / f"{config.stem}.log"
        with running(command, "/readyz", log, environment=self._environment) as server:
            yield server

    @property
    def _environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self.root / "src")}

    def _settings(self, folder: Path) -> dict[str, Any]:
        shipped: dict[str, Any] = yaml.safe_load((self.root / "configs" / "cpu.yaml").read_text())
        model = {"id": MODEL, "source": str(folder), "preload": True}
        server = {"request_timeout_s": 600, "shutdown_delay_s": 0}
        return shipped | {"models": [model], "catalogue": False, "dtype": "auto", "server": server}
