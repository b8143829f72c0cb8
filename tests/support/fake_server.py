"""The service as a process, on loopback, with a fake model that behaves as told once it is warm; prints its address.

`python -m tests.support.fake_server fine|hang|lose|die [CALL [DEPTH [SECONDS]]]`: steps take so long; or that call of
the engine's does not end, finds the device lost, or ends the device thread.
"""

import socket
import sys
import threading
from functools import partial

from blip_serve.api.app import create_app
from blip_serve.api.server import Server
from blip_serve.domain import Item, Prepared
from blip_serve.errors import DeviceLost
from blip_serve.models.fake import Call, FakeModel
from blip_serve.settings import Settings
from blip_serve.tasks.service import open_service
from tests.support.server import always


class Told(FakeModel):
    """Behaves as told from the first item on that is not its own warm-up."""

    def __init__(self, behaviour: str, call: str, depth: int, step_seconds: float) -> None:
        super().__init__("match", "embed", "caption", depth=depth, step_seconds=step_seconds)
        self._behaviour = behaviour
        self._call = call
        self._warm = threading.Event()

    def prepare(self, item: Item) -> Prepared:
        """Notes what was asked."""
        if item != self.warm_up():
            self._warm.set()
        return super().prepare(item)

    def enter(self, call: Call) -> None:
        """Behaves."""
        if call != self._call or not self._warm.is_set():
            return
        match self._behaviour:
            case "hang":
                threading.Event().wait()
            case "lose":
                raise DeviceLost("no more")
            case "die":
                raise SystemExit


def main(behaviour: str, call: str = "launch", depth: str = "1", step_seconds: str = "0") -> None:
    """Serves until it is told to stop."""
    settings = Settings.load()
    listener = socket.create_server(("127.0.0.1", settings.server.port), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    model = Told(behaviour, call, int(depth), float(step_seconds))
    app = create_app(settings, partial(open_service, loader=always(model)))
    Server(app).run_to_exit(listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
