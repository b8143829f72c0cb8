"""Files and folders that several processes write at once."""

import fcntl
import os
from pathlib import Path

import pytest

from blip_serve.durable import new_folder, write_file


def is_free(folder: Path) -> bool:
    """Whether another writer would not have to wait."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def test_while_a_folder_is_filled_others_wait_and_no_lock_file_is_left(tmp_path: Path) -> None:
    with new_folder(tmp_path / "to") as new:
        assert not is_free(tmp_path)
        (new / "a").write_bytes(b"a")
    assert is_free(tmp_path)
    assert [file.name for file in tmp_path.rglob("*")] == ["to", "a"]


def test_a_writer_that_failed_holds_up_nobody(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with pytest.raises(OSError, match="to"):
        write_file(tmp_path / "to", b"a")
    assert is_free(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["to"]
