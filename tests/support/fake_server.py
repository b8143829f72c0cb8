"""The service as a process, on loopback, with a fake model that behaves as told once it is warm; prints its address.

`python -m tests.support.fake_server fine|hang|die [SECONDS]`: steps take so long, do not end, or end the device thread.
"""

import socket
import sys
import threading
from collections.abc import Sequence
from functools import partial

from blip_serve.api.app import create_app
from blip_serve.api.server import Server
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.settings import Settings
from blip_serve.tasks.service import open_service
from tests.support.server import always


def main(behaviour: str, step_seconds: float = 0.0) -> None:
    """Serves until it is told to stop."""
    settings = Settings.load()
    listener = socket.create_server(("127.0.0.1", settings.server.port), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    warm = threading.Event()

    def behave(works: Sequence[FakeWork]) -> None:
        if warm.is_set() and behaviour == "hang":
            threading.Event().wait()
        if warm.is_set() and behaviour == "die":
            raise SystemExit
        if works[0].phase == "score":
            warm.set()

    model = FakeModel("match", "embed", "caption", step_seconds=step_seconds, on_launch=behave)
    app = create_app(settings, partial(open_service, load=always(model)))
    Server(app).run_to_exit(listener)


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
