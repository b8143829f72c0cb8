"""An engine that nobody stops: the step under way ends before the interpreter does, and its thread with it."""

import subprocess
import sys

SCRIPT = """
import atexit, threading
from blip_serve.engine.engine import Engine
from blip_serve.models.fake import FakeModel
from blip_serve.settings import EngineSettings, LogSettings
from blip_serve.telemetry import Telemetry
from tests.support.engine import held

def last():  # registered first, so it is called last
    print(model.steps, [thread.name for thread in threading.enumerate()])

atexit.register(last)
model, engine = FakeModel(), Engine(EngineSettings(), Telemetry(LogSettings(level="error")))
engine.start()
held(model, engine)
atexit.register(model.open.set)  # the step goes on when the script is at its end
"""


def test_the_step_under_way_ends_before_the_interpreter_and_no_further_one_begins() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("['MainThread']\n"), done.stdout
