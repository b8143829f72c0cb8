"""Calls of a package's functions are recorded with the file that they come from."""

import asyncio
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from journeys.trace import Journey, Tracer

CODE = {
    "outer": "from traced import inner\n\ndef call():\n    return sorted([2, 1], key=inner.key)\n\n"
    "async def wait():\n    await inner.twice()\n",
    "inner": "import asyncio\n\ndef key(value):\n    return same(value)\n\ndef same(value):\n    return value\n\n"
    "async def twice():\n    await asyncio.sleep(0)\n    await asyncio.sleep(0)\n",
}


@pytest.fixture
def outer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package = tmp_path / "traced"
    package.mkdir()
    for name, code in CODE.items():
        (package / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        yield importlib.import_module("traced.outer")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "traced"]:
            del sys.modules[name]
        threading.setprofile(None)


def traced(outer: ModuleType, target: str) -> Journey:
    """The calls of a function of `outer` on a thread of its own."""
    assert outer.__file__ is not None
    tracer = Tracer(Path(outer.__file__).parent)
    function = getattr(outer, target)

    def run() -> None:
        found = function()
        if asyncio.iscoroutine(found):
            asyncio.run(found)

    with tracer.recording() as journey:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    return journey


def test_a_call_by_way_of_a_library_is_the_caller_s(outer: ModuleType) -> None:
    journey = traced(outer, "call")
    assert journey.files == ["outer.py", "inner.py"]
    assert journey.hand_overs == [(None, "outer.py"), ("outer.py", "inner.py"), ("outer.py", "inner.py")]


def test_a_coroutine_that_goes_on_after_a_wait_is_no_call(outer: ModuleType) -> None:
    assert traced(outer, "wait").hand_overs == [(None, "outer.py"), ("outer.py", "inner.py")]


def test_what_is_called_outside_of_a_recording_is_not_recorded(outer: ModuleType) -> None:
    journey = traced(outer, "call")
    calls = list(journey.calls)
    thread = threading.Thread(target=outer.call)  # traced, as the tracer was made before it
    thread.start()
    thread.join()
    assert journey.calls == calls
