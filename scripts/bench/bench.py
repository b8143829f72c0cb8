"""What every row is measured with: the device, checkpoints, pictures, our service, and where the rows go."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bench.checkpoints import SizeName, checkpoint
from bench.measure import Results, Row, spread
from bench.pictures import Pictures
from bench.process import Server, running
from bench.sides.apart import Apart
from bench.sides.engine import InProcess, in_process
from blip_serve.settings import Settings
from tests.support.checkpoints import Kind

DeviceName = Literal["cpu", "cuda"]
ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "bench"
MODEL = "bench/model"


@dataclass(frozen=True, slots=True)
class Bench:
    """One run. `dtype`: what `dtype: auto` is on the device. `quick`: base size only, few repeats."""

    device: DeviceName
    dtype: str
    quick: bool
    results: Results
    pictures: Pictures
    cache: Path = CACHE

    @property
    def sizes(self) -> tuple[SizeName, ...]:
        """Checkpoints to measure."""
        return ("base",) if self.quick else ("base", "large")

    @property
    def sixteen_bits(self) -> tuple[str, ...]:
        """The number type of sixteen bits that users take on the device; none where a CPU only emulates it."""
        return () if self.dtype == "float32" else (self.dtype,)

    @property
    def number_types(self) -> tuple[str, ...]:
        """Those that the device multiplies."""
        return ("float32", *self.sixteen_bits)

    @property
    def openvino_types(self) -> tuple[str, ...]:
        """Number types of (o), which runs on CPUs only. A quick run has the one that is ours."""
        if self.device != "cpu":
            return ()
        return (self.dtype,) if self.quick else (*self.number_types, "int8")

    def repeats(self, count: int, quick: int = 1) -> int:
        """How often a row is timed, that is timed `count` times in a whole run, or half as often in float32."""
        return quick if self.quick else count if self.sixteen_bits else -(-count // 2)

    def checkpoint(self, size: SizeName, kind: Kind = "retrieval") -> Path:
        """The folder of a checkpoint of random weights."""
        return checkpoint(self.cache, size, kind)

    def settings(self, folder: Path, **changes: Any) -> dict[str, Any]:
        """Those the project ships for the device, serving the checkpoint in `folder`, with `changes` to its keys."""
        shipped: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{self.device}.yaml").read_text())
        model = {"id": MODEL, "source": str(folder), "preload": True}
        server = {"request_timeout_s": 600, "shutdown_delay_s": 0}
        ours = {"models": [model], "catalogue": False, "dtype": "auto", "server": server}
        return shipped | ours | changes

    @contextmanager
    def serve(self, folder: Path, **changes: Any) -> Iterator[Server]:
        """`blip-serve serve` as a process, ready."""
        settings = self.settings(folder, **changes)
        config = self.cache / f"serve-{folder.name}-{settings['dtype']}.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump(settings))
        command = ["-m", "blip_serve", "serve", "--config", str(config)]
        with running(command, "/readyz", self.cache / "logs" / f"{config.stem}.log") as server:
            yield server

    @contextmanager
    def other(self, name: str, *arguments: str, dtype: str) -> Iterator[Server]:
        """A server of `sides/` as a process, ready."""
        command = ["-m", f"bench.sides.{name}", *arguments, "--dtype", dtype, "--device", self.device]
        with running(command, "/health", self.cache / "logs" / f"{name}-{dtype}.log") as server:
            yield server

    def card(self, kind: Callable[[Path, str, str], object], folder: Path, dtype: str) -> Apart:
        """The model card's code (`CardMatcher`, `CardCaptioner`) in a process of its own."""
        return Apart(kind, folder, dtype, self.device)

    def engine(self, folder: Path, **changes: Any) -> AbstractContextManager[InProcess]:
        """The service without HTTP, in this process, ready."""
        return in_process(Settings(**self.settings(folder, log={"level": "error"}, **changes)))

    def add(
        self,
        group: str,
        name: str,
        side: str,
        model: str,
        unit: str,
        values: Sequence[float],
        x: float | None = None,
        note: str = "",
    ) -> None:
        """A row of `values` measured one after the other."""
        low, median, high = spread(values)
        self.results.add(Row(group, name, side, model, unit, median, low, high, len(values), x, note))
