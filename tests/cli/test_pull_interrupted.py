"""`blip-serve pull`, killed at ten points of its work: the next one asks only for what is missing. No rest stays."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blip_serve.catalogue import embedded_card
from blip_serve.models.digests import file_digests
from blip_serve.models.pulled import find_pulled
from tests.support.command import blip_serve
from tests.support.hub import COMMIT, REPOSITORY, Asked, Hub, Pause, running_hub
from tests.support.waiting import STARTED_S

WEIGHTS, MB = "pytorch_model.bin", 1 << 20
PIECE = 10 * MB
"""What the hub's client writes at a time."""


@cache
def files() -> dict[str, bytes]:
    """The demo, its weights pickled, with a buffer that no network needs and that makes them three pieces long."""
    folder = embedded_card("demo-retrieval").folder
    assert folder is not None
    state = load_file(folder / "model.safetensors")
    pickled = io.BytesIO()
    torch.save(state | {"text_encoder.embeddings.position_ids": torch.zeros(22 * MB, dtype=torch.uint8)}, pickled)
    names = ("config.json", "preprocessor_config.json", "tokenizer.json", "vocab.txt")
    return {WEIGHTS: pickled.getvalue()} | {name: (folder / name).read_bytes() for name in names}


@cache
def blob() -> str:
    """The name of the weights in the hub's cache."""
    return sha256(files()[WEIGHTS]).hexdigest()


@dataclass
class Pull:
    """`pull REPOSITORY`, perhaps `--to` a folder, killed and run to its end."""

    home: Path
    hub: Hub
    options: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        home = str(self.home)
        return {"HF_HOME": home, "XDG_DATA_HOME": home, "HF_ENDPOINT": self.hub.url, "HF_HUB_OFFLINE": "0"}

    def killed_at_byte(self, name: str, position: int) -> None:
        self.hub.pause = Pause(name, position)
        command = [sys.executable, "-m", "blip_serve", "pull", REPOSITORY, *self.options]
        with subprocess.Popen(command, env=os.environ | self.environment) as process:
            assert self.hub.pause.reached.wait(STARTED_S)
            while position >= PIECE and self.partial() < position // PIECE * PIECE:
                assert process.poll() is None
            process.kill()
        self.hub.pause.go_on.set()
        self.hub.pause = None

    def killed_at_event(self, event: str, told: str) -> None:
        command = [sys.executable, "-m", "tests.support.killed", event, told, "pull", REPOSITORY, *self.options]
        done = subprocess.run(command, check=False, timeout=STARTED_S, env=os.environ | self.environment)
        assert done.returncode == -9

    def partial(self) -> int:
        """Bytes of the weights that the interrupted one left."""
        return sum(file.stat().st_size for file in self.home.rglob(f"{blob()}.incomplete"))

    def done(self) -> list[Asked]:
        """Runs it to its end. Returns its requests for the bytes of files."""
        self.hub.log.clear()
        done = blip_serve("pull", REPOSITORY, *self.options, **self.environment)
        assert done.returncode == 0, done.stderr
        return [asked for asked in self.hub.log if asked.method == "GET"]

    def assert_whole(self) -> None:
        """Everything is there, and recorded; nothing is left over."""
        [snapshot] = self.home.rglob("snapshots/*")
        assert {file.name: file.read_bytes() for file in snapshot.iterdir()} == files()
        pulled = find_pulled(self.home / "blip-serve", REPOSITORY, COMMIT)
        assert pulled is not None
        assert pulled.files == file_digests(snapshot)
        assert not [*self.home.rglob("*.incomplete"), *self.home.rglob("*.tmp")]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub(files()) as hub:
        yield hub


def test_an_interrupted_download_goes_on_at_the_byte_where_it_stopped(tmp_path: Path, hub: Hub) -> None:
    pull = Pull(tmp_path, hub)
    pull.killed_at_byte(WEIGHTS, PIECE + MB)
    assert pull.partial() == PIECE
    assert pull.done() == [Asked("GET", WEIGHTS, f"bytes={PIECE}-")]
    pull.assert_whole()


BYTES = {
    "in a small file": ("config.json", 100, [None]),
    "between two files": ("vocab.txt", 0, [None]),
    "in the second piece of the weights": (WEIGHTS, PIECE + MB, [f"bytes={PIECE}-"]),
    "in the third": (WEIGHTS, 2 * PIECE + MB, [f"bytes={2 * PIECE}-"]),
}
"""File, byte, and what the next one asks of the weights."""
EVENTS = {
    "while the digest is read": ("open", "{blob}.incomplete r "),
    "before the file has its name": ("os.rename", "{blob}.incomplete"),
    "before it is linked": ("os.symlink", WEIGHTS),
    "while it is recorded": ("os.rename", f"{COMMIT}.json.tmp"),
    "while the folder is filled": ("shutil.copyfile", ".to.tmp"),
    "before the folder has its name": ("os.rename", ".to.tmp"),
}


@pytest.mark.full
@pytest.mark.parametrize(("name", "position", "asked"), BYTES.values(), ids=BYTES)
def test_the_next_pull_finishes_what_was_interrupted(
    tmp_path: Path, hub: Hub, name: str, position: int, asked: list[str | None]
) -> None:
    pull = Pull(tmp_path, hub, ["--to", str(tmp_path / "to")])
    pull.killed_at_byte(name, position)
    assert [each.range for each in pull.done() if each.name == WEIGHTS] == asked
    pull.assert_whole()
    assert_written(tmp_path / "to")


@pytest.mark.full
@pytest.mark.parametrize(("event", "told"), EVENTS.values(), ids=EVENTS)
def test_what_was_brought_before_the_end_is_not_asked_for_again(
    tmp_path: Path, hub: Hub, event: str, told: str
) -> None:
    pull = Pull(tmp_path, hub, ["--to", str(tmp_path / "to")])
    pull.killed_at_event(event, told.format(blob=blob()))
    assert not (tmp_path / "to").exists()
    assert pull.done() == []
    pull.assert_whole()
    assert_written(tmp_path / "to")


def assert_written(folder: Path) -> None:
    """The folder is the demo, in the hub's layout."""
    demo = embedded_card("demo-retrieval").folder
    assert demo is not None
    assert {file.name for file in folder.iterdir()} == (files().keys() - {WEIGHTS}) | {"model.safetensors"}
    found, expected = (load_file(each / "model.safetensors") for each in (folder, demo))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
