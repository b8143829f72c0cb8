"""Where the tests of this folder run: on a CUDA card, which the marker `cuda` stands for, and on the CPU where cheap.

On the CPU they test themselves: both devices get the same inputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from tests.support import cores
from tests.support.checkpoints import BASE, Kind, build

DEMO: dict[Kind, str] = {"retrieval": "demo-retrieval", "captioning": "demo-captioning", "answering": "demo-vqa"}
SEEDS: dict[Kind, int] = {"retrieval": 3, "captioning": 4, "answering": 3}
"""Those of the full-size tests, whose texts differ and end by themselves."""
ON_CARD = pytest.mark.cuda
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A device, and which checkpoints are compared on it."""

    device: str
    size: str
    folders: Path

    def some(self, cases: Sequence[T]) -> Sequence[T]:
        """All of them on a card. On a CPU only some, because the CPU's own tests compare more."""
        return cases[::5] if self.device == "cpu" else cases

    def checkpoint(self, kind: Kind, calm: bool = False) -> Path:
        """The folder of a checkpoint of a kind, made once. `calm`: see `build`."""
        if self.size == "demo":
            return EMBEDDED / DEMO[kind]
        folder = self.folders / f"{kind}{'-calm' * calm}"
        return folder if folder.exists() else build(folder, BASE, kind=kind, seed=SEEDS[kind], calm=calm)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("base")


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=ON_CARD)])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.param
    if name == "cpu":
        yield name
        return
    if not torch.cuda.is_available():
        pytest.skip("no CUDA card")
    with cores.all_cores():
        yield name


@pytest.fixture(scope="module", params=["demo", pytest.param("base", marks=ON_CARD)])
def place(request: pytest.FixtureRequest, device: str, folders: Path) -> Place:
    if device == "cpu" and request.param == "base":
        pytest.skip("on a CPU the full-size tests compare these")
    return Place(device, request.param, folders)
