"""A checkpoint's digest changes with every file that can change an answer, and with no other."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.errors import CheckpointError
from blip_serve.models.digests import checkpoint_digest, file_digests, tensor_digests
from blip_serve.models.pulled import Pulled, find_pulled, keep_pulled

DEMO = EMBEDDED / "demo-retrieval"


def test_each_deciding_file_has_its_own_sha256(tmp_path: Path) -> None:
    digests = file_digests(DEMO)
    assert digests["model.safetensors"] == sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()
    copy = shutil.copytree(DEMO, tmp_path / "copy")
    (copy / "README.md").write_text("other")
    (copy / "card.json").unlink()
    assert file_digests(copy) == digests
    for name in digests:
        before = (copy / name).read_bytes()
        (copy / name).write_bytes(before + b" ")
        assert checkpoint_digest(file_digests(copy)) != checkpoint_digest(digests), name
        (copy / name).write_bytes(before)


def test_without_weights_there_is_no_digest(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds neither"):
        file_digests(tmp_path)


def test_what_was_pulled_is_found_by_repository_and_commit(tmp_path: Path) -> None:
    pulled = Pulled(repository="../owner/name", revision="main", commit="c0ffee", files={"config.json": "00"})
    keep_pulled(tmp_path / "data", pulled)
    assert find_pulled(tmp_path / "data", "../owner/name", "c0ffee") == pulled
    assert find_pulled(tmp_path / "data", "../owner/name", "other") is None
    [file] = (tmp_path / "data").rglob("*.json")
    file.write_text("{}")
    with pytest.raises(CheckpointError, match="not what"):
        find_pulled(tmp_path / "data", "../owner/name", "c0ffee")


def with_header(header: bytes) -> bytes:
    """A safetensors file of 64 bytes of weights."""
    return len(header).to_bytes(8, "little") + header + bytes(64)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        (7).to_bytes(8, "little") + b'{"a":1}',
        with_header(b'{"a":{"data_offsets":[0,Infinity]}}'),
        with_header(b'{"a":{"data_offsets":[0,64]},"b":{"data_offsets":[0,64]},"c":{"data_offsets":[0,64]}}'),
    ],
    ids=["none", "long", "a list", "no offsets", "no number", "more than the file"],
)
def test_a_damaged_header_is_named(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(header)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its header is damaged"):
        tensor_digests(tmp_path)
