"""The doctor on checkpoints of base size, brought by `pull` from a hub on loopback; and on demos in any number type.

What `pull` recorded is the witness of a single weight, the catalogue's card that of everything else.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blip_serve.architectures import ARCHITECTURES
from blip_serve.catalogue import EMBEDDED, known_cards
from blip_serve.doctor.check import Check
from blip_serve.doctor.examination import examine, files, quick
from blip_serve.doctor.place import place_of
from blip_serve.doctor.weights import weights
from blip_serve.settings import Settings
from tests.doctor.faults import Fault, faults, number
from tests.doctor.test_faults import B, failed, settings_of
from tests.support.checkpoints import BASE, Kind, build
from tests.support.command import blip_serve
from tests.support.damage import edit_weights
from tests.support.hub import COMMIT, running_hub

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

IDS: dict[Kind, str] = {
    "retrieval": "Salesforce/blip-itm-base-coco",
    "captioning": "Salesforce/blip-image-captioning-base",
}
SEEDS: dict[Kind, int] = {"retrieval": 3, "captioning": 4}
FAULTS = faults(vocabulary=30524, image_size=224)


@dataclass(frozen=True)
class Brought:
    """A checkpoint that `pull` brought, and the folder where it is recorded."""

    kind: Kind
    folder: Path
    data: Path

    def settings(self, folder: Path, **values: Any) -> Settings:
        """The catalogue's model, with its files in a folder."""
        model = {"id": IDS[self.kind], "source": str(folder), "revision": values.pop("revision", None)}
        given = {"device": "cpu", "dtype": "float32", "data_dir": self.data, "models": [model], "catalogue": False}
        return Settings.of(given | values)

    def copy(self, to: Path) -> Path:
        """A copy as the hub's cache has it."""
        name = f"models--{IDS[self.kind].replace('/', '--')}"
        return Path(shutil.copytree(self.folder, to / name / "snapshots" / COMMIT))


@pytest.fixture(scope="module", params=IDS)
def brought(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brought]:
    kind: Kind = request.param
    home = tmp_path_factory.mktemp("home")
    built = build(home / "built", BASE, kind=kind, seed=SEEDS[kind], as_bert=True)
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "BLIP_SERVE_DATA_DIR": str(home / "data")}
    with running_hub() as hub:
        hub.add(IDS[kind], {file.name: file for file in built.iterdir()})
        environment |= {"HF_ENDPOINT": hub.url, "BLIP_SERVE_MODELS": json.dumps([{"id": IDS[kind]}])}
        pull = [sys.executable, "-m", "blip_serve", "pull"]
        done = subprocess.run(pull, check=False, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(built)
    yield Brought(kind, Path(done.stdout.strip().partition(": ")[2]), home / "data")
    shutil.rmtree(home)


def rows(settings: Settings, folder: Path) -> list[Check]:
    """All but the comparison."""
    place = place_of(settings.models[0])
    architecture = place.card.architecture or next(iter(ARCHITECTURES.values()))
    checks = [*quick(settings).checks, *files(place, settings, whole=True)]
    return [*checks, *weights(folder, architecture, settings.dtype)]


@pytest.mark.long
def test_an_unchanged_checkpoint_of_base_size_passes(brought: Brought) -> None:
    report = examine(brought.settings(brought.folder, revision=COMMIT), IDS[brought.kind])
    for check in report.checks:
        print(check.status, check.part, check.name, check.seen, check.expected, sep=" | ")
    assert report.exit_code == 0


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_planted_at_base_size_fails_the_row_that_names_it(
    brought: Brought, tmp_path: Path, fault: Fault
) -> None:
    if fault.kind != brought.kind:
        return
    folder = brought.copy(tmp_path)
    fault.damage(folder)
    found = failed(rows(brought.settings(folder, **fault.settings), folder))
    shutil.rmtree(folder)
    assert fault.seen in found[fault.row]
    if fault.row == "model.safetensors" and fault.seen.endswith("differs"):
        assert list(found) == ["model.safetensors"]


@pytest.mark.long
def test_another_revision_fails_at_base_size(brought: Brought) -> None:
    found = failed(list(quick(brought.settings(brought.folder, revision=B)).checks))
    assert found == {"revision": COMMIT[:12]}


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of a given size needs root")
def test_a_disk_without_room_fails_before_a_download(tmp_path: Path) -> None:
    """The real disk, as a process."""
    home = tmp_path / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", home], check=True)
    try:
        with running_hub() as hub:
            hub.add(IDS["retrieval"], {"config.json": b"{}"})
            done = blip_serve(
                *("doctor", "--json", "--model", IDS["retrieval"]),
                **{"HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url},
            )
    finally:
        subprocess.run(["umount", home], check=True)
    assert done.returncode == 1, done.stderr
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["room for downloads"]["status"] == "failed"
    assert found["room for downloads"]["expected"].startswith("0.9 GB")
    assert found["hub"]["status"] == "passed"


@pytest.mark.parametrize(
    "dtype", ["float32", *(pytest.param(name, marks=pytest.mark.long) for name in ("float16", "bfloat16"))]
)
@pytest.mark.parametrize("name", [card.id for card in known_cards().values() if card.folder])
def test_every_demo_passes_in_every_number_type(tmp_path: Path, name: str, dtype: str) -> None:
    report = examine(Settings.of({"device": "cpu", "dtype": dtype, "data_dir": tmp_path}), name)
    assert (report.exit_code, failed(list(report.checks))) == (0, {})


def test_numbers_that_overflow_on_the_way_fail_in_the_number_type_in_use(tmp_path: Path) -> None:
    """Every weight fits float16, and what is computed of them does not."""
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    edit_weights(number("itm_head.weight", 60000.0))(folder)
    settings = settings_of(folder, tmp_path, dtype="float16")
    found = failed(list(examine(settings, "blip-serve/demo-retrieval").checks))
    assert set(found) >= {"model.safetensors", "drift of float16"}
    assert "numbers that fit float16" not in found
