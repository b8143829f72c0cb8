"""Every planted fault fails the row that names it, and unchanged copies pass. Without the comparison, which is slow."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from blip_serve.doctor.check import Check
from blip_serve.doctor.environment import machine
from blip_serve.doctor.examination import files, quick
from blip_serve.doctor.place import place_of
from blip_serve.doctor.weights import weights
from blip_serve.models.digests import file_digests, tensor_digests
from blip_serve.models.pulled import Pulled, keep_pulled
from blip_serve.settings import Settings
from tests.doctor.faults import Fault, faults

FAULTS = faults(vocabulary=181, image_size=84)
A, B = "a" * 40, "b" * 40
SALESFORCE = "Salesforce/blip-itm-base-coco"


def settings_of(folder: Path, data: Path, kind: str = "retrieval", **values: Any) -> Settings:
    """A demo's copy under the demo's id."""
    model = {"id": f"blip-serve/demo-{kind}", "source": str(folder), "revision": values.pop("revision", None)}
    return Settings.of({"device": "cpu", "data_dir": data, "models": [model], "catalogue": False} | values)


def rows(settings: Settings, folder: Path, dtype: str = "float32") -> list[Check]:
    """All but the comparison."""
    place = place_of(settings.models[0])
    assert place.card.architecture is not None
    checks = [*quick(settings).checks, *files(place, settings, whole=True)]
    return [*checks, *weights(folder, place.card.architecture, dtype)]


def failed(checks: list[Check]) -> dict[str, str]:
    """What was seen, by row."""
    return {check.name: check.seen for check in checks if check.status == "failed"}


@pytest.mark.parametrize("kind", ["retrieval", "captioning", "vqa"])
def test_an_unchanged_copy_passes(tmp_path: Path, kind: str) -> None:
    folder = Path(shutil.copytree(EMBEDDED / f"demo-{kind}", tmp_path / "copy"))
    found = rows(settings_of(folder, tmp_path, kind), folder)
    assert [check for check in found if check.status in ("failed", "not checked")] == []
    assert sum(check.status == "passed" for check in found) > 60


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_fails_the_row_that_names_it(tmp_path: Path, fault: Fault) -> None:
    folder = Path(shutil.copytree(EMBEDDED / f"demo-{fault.kind}", tmp_path / "copy"))
    fault.damage(folder)
    found = rows(
        settings_of(folder, tmp_path, fault.kind, **fault.settings), folder, fault.settings.get("dtype", "float32")
    )
    assert fault.row in failed(found)
    assert fault.seen in failed(found)[fault.row]
    assert all(check.advice for check in found if check.status == "failed")


def test_an_altered_weight_is_seen_by_the_digests_alone(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    FAULTS["one altered weight"].damage(folder)
    assert list(failed(rows(settings_of(folder, tmp_path), folder))) == ["model.safetensors"]


def snapshot(cache: Path, commit: str = A) -> Path:
    """A demo in a folder as the hub's cache has it."""
    return Path(shutil.copytree(EMBEDDED / "demo-retrieval", cache / "models--owner--model" / "snapshots" / commit))


def test_another_revision_than_the_settings_name_fails(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    assert failed(list(quick(settings_of(folder, tmp_path, revision=B)).checks)) == {"revision": A[:12]}
    right = quick(settings_of(folder, tmp_path, revision=A))
    assert [check.status for check in right.checks if check.name == "revision"] == ["passed"]


def test_a_branch_that_moved_since_the_pull_fails(tmp_path: Path) -> None:
    """The record says what the branch was; a folder without a commit is known by its digests."""
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    model = {"id": SALESFORCE, "source": str(folder), "revision": "main"}
    settings = Settings.of({"device": "cpu", "data_dir": tmp_path, "models": [model], "catalogue": False})
    record = Pulled(
        repository=SALESFORCE, revision="main", commit=A, files=file_digests(folder), tensors=tensor_digests(folder)
    )
    keep_pulled(tmp_path, record)
    found = list(files(place_of(settings.models[0]), settings, whole=True))
    assert [check.status for check in found if check.name == "revision"] == ["passed"]
    (folder / "vocab.txt").write_text("a\n")
    found = list(files(place_of(settings.models[0]), settings, whole=True))
    assert failed(found)["revision"] == "files of no commit that `pull` recorded"


def test_two_names_of_one_commit_are_no_fault(tmp_path: Path) -> None:
    """One record is kept of a commit, under the name that was pulled last; what another name is, it does not say."""
    folder = snapshot(tmp_path)
    model = {"id": "owner/model", "source": str(folder), "revision": "v2"}
    settings = Settings.of({"device": "cpu", "data_dir": tmp_path, "models": [model], "catalogue": False})
    keep_pulled(tmp_path, Pulled(repository="owner/model", revision="main", commit=A, files=file_digests(folder)))
    found = list(files(place_of(settings.models[0]), settings, whole=True))
    assert failed(found) == {}
    [row] = [check for check in found if check.name == "revision"]
    assert (row.status, row.seen) == ("not checked", "no record of what v2 is")


def test_what_was_recorded_of_another_commit_is_no_witness(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    model = {"id": "owner/model", "source": str(folder)}
    settings = Settings.of({"device": "cpu", "data_dir": tmp_path, "models": [model], "catalogue": False})
    keep_pulled(tmp_path, Pulled(repository="owner/model", revision=None, commit=B, files={"config.json": "0" * 64}))
    found = list(files(place_of(settings.models[0]), settings, whole=True))
    assert failed(found) == {}
    assert "second witness: digests" in [check.name for check in found if check.status == "not checked"]


def test_a_folder_of_the_hubs_cache_has_the_card_of_its_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models--Salesforce--blip-itm-base-coco" / "snapshots" / A
    folder.mkdir(parents=True)
    settings = Settings.of({"models": [{"id": "mine/own", "source": str(folder)}], "catalogue": False})
    place = place_of(settings.models[0])
    assert (place.card.id, place.repository, place.commit) == (SALESFORCE, SALESFORCE, A)


def test_weights_that_end_too_early_fail_and_are_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    weights_file = folder / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:100_000])
    settings = settings_of(folder, tmp_path)
    found = failed(list(files(place_of(settings.models[0]), settings, whole=True)))
    assert "model.safetensors: its header is damaged, or it ends too early" in found["model.safetensors"]


def test_without_a_witness_the_row_says_that_nothing_was_checked(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    model = {"id": "mine/own", "source": str(folder), "revision": "main"}
    settings = Settings.of({"device": "cpu", "data_dir": tmp_path, "models": [model], "catalogue": False})
    found = list(files(place_of(settings.models[0]), settings, whole=True))
    assert [check.name for check in found if check.status == "not checked"] == [
        "second witness: card",
        "second witness: digests",
        "revision",
    ]
    assert failed(found) == {}


def test_no_room_for_what_must_be_downloaded_fails(tmp_path: Path) -> None:
    settings = Settings.of({"device": "cpu", "data_dir": tmp_path, "models": [{"id": SALESFORCE}], "catalogue": False})
    found = failed(list(quick(settings, free=lambda _: 10**6).checks))
    assert found["room for downloads"] == "1.0 MB free"
    assert found["hub"] == "HF_HUB_OFFLINE is set"
    roomy = quick(settings, free=lambda _: 10**12)
    assert [check.status for check in roomy.checks if check.name == "room for downloads"] == ["passed"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_device_that_is_not_there_fails(tmp_path: Path) -> None:
    settings = settings_of(EMBEDDED / "demo-retrieval", tmp_path, device="cuda")
    for checks in (quick(settings).checks, machine(settings)):
        assert failed(list(checks))["device"] == "cuda asked for, but PyTorch sees no CUDA device"


def test_a_source_that_is_no_folder_fails(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "nothing", tmp_path)
    assert "no such folder" in failed(list(quick(settings).checks))["blip-serve/demo-retrieval"]


def test_a_file_that_cannot_be_read_fails_and_names_it(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    (folder / "config.json").write_text("{")
    assert "config.json: not JSON" in failed(list(quick(settings_of(folder, tmp_path)).checks))["files"]
