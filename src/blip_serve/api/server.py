"""The server process: uvicorn with our bounds, from its first request to its exit code."""

import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from blip_serve.api.protocol import BoundedProtocol
from blip_serve.settings import ServerSettings

CANCELLED_S = 1.0
"""Time in which requests that outlived the drain are told so."""


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """How `app`, made by `create_app`, is served, by its own settings."""
    settings: ServerSettings = app.state.settings.server
    return uvicorn.Config(
        app,
        http=partial(BoundedProtocol, bounds=settings, telemetry=app.state.telemetry),  # type: ignore[arg-type]  # called as a class
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
    )


class Server(uvicorn.Server):
    """uvicorn, but SIGTERM is announced before the port closes, and the loss of the device ends it."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn_config(app))
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles SIGTERM and SIGINT; uvicorn's own raises them once more at the end, for an exit code of -15."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: not ready now, closed after the delay. Ctrl-C: closed now. A second signal: ended now."""
        if self._app.state.draining:
            self.should_exit = self.force_exit = True
            return
        self._app.state.draining = True
        delay = 0 if sig == signal.SIGINT else self._app.state.settings.server.shutdown_delay_s
        self._app.state.telemetry.log.info("draining", delay_s=delay)
        asyncio.get_running_loop().call_later(delay, setattr, self, "should_exit", True)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop."""
        return await super().on_tick(counter) or self.lost()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the port, lets requests in flight end, tells those that do not, ends the application."""
        self._app.state.draining = True
        await super().shutdown(sockets)
        if self.server_state.tasks and not self.force_exit:
            await asyncio.wait(self.server_state.tasks, timeout=CANCELLED_S)

    def lost(self) -> bool:
        """Whether the device or the decoders came to a fault that only a new process recovers from."""
        tasks = getattr(self._app.state, "tasks", None)
        return tasks is not None and bool(tasks.lost())

    def run_to_exit(self, listener: socket.socket) -> NoReturn:
        """Serves on `listener` until told to stop, and ends the process: 0, or 1 where requests were cut off for it.

        No thread is waited for: one that hangs on the device, or in a look-up, would hold the process for good.
        """
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve([listener]))
            code = int(self.lost() or self.force_exit or not self.started)
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            os._exit(code)
