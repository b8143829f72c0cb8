"""A disk that is full while a part is written, committed or joined: an `OSError`, and nothing half written.

The disk is a limit on the size of files, in a process of its own.
"""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, signal, sys
from pathlib import Path
from blip_serve.jobs.rows import Row
from blip_serve.jobs.sinks import SinkOptions, make_sink
from blip_serve.jobs.destination import destination
from tests.jobs.sinks.drawn import drawn

folder, kind, name, text_bytes = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
options = SinkOptions({"caption": "string"}, "caption", pictures=kind == "parquet")
sink = make_sink(destination(str(folder / name), kind), options)

def write(part):
    for number in range(3):
        part.add(Row(number, f"{number}.jpg", {}), drawn("BMP", size=(64, 64)), {"caption": "ab" * text_bytes})
    part.commit()

def files():
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "sqlite" not in path.name}

write(sink.part("000000"))
before = files()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
part = None
try:
    part = sink.part("000001")
    write(part)
except OSError as error:
    if part is not None:
        part.discard()
    print("part:", error)
try:
    sink.join(["000000"])
except OSError as error:
    print("join:", error)
assert files() == before
"""
KINDS = [
    ("jsonl", "out.jsonl"),
    ("parquet", "out.parquet"),
    ("parquet", "set"),
    ("webdataset", "tars"),
    ("imagefolder", "copies"),
    ("sidecar", "texts"),
]


@pytest.mark.parametrize("text_bytes", [60, 100_000], ids=["commit", "add"])
@pytest.mark.parametrize(("kind", "name"), KINDS, ids=[f"{kind}-{name}" for kind, name in KINDS])
def test_a_full_disk_leaves_the_parts_before_and_no_other(
    tmp_path: Path, kind: str, name: str, text_bytes: int
) -> None:
    said = run(tmp_path, kind, name, text_bytes)
    assert "part:" in said
    assert ("join:" in said) == ("." in name or kind == "imagefolder")


def run(folder: Path, kind: str, name: str, text_bytes: int) -> str:
    """What the script said, and nothing else on its standard error."""
    arguments = [str(folder), kind, name, str(text_bytes)]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout
