"""A data set's JSON file that is none is refused by its name, and never waited for."""

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.json_files import read_json


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "questions.json")
    with pytest.raises(ConfigurationError, match=r"questions.json: not a regular file"):
        read_json(tmp_path / "questions.json", TypeAdapter(list[int]), "a list")


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"{}", b"\xff"])
def test_other_contents_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "questions.json"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"questions.json: it is not a list: "):
        read_json(file, TypeAdapter(list[int]), "a list")
