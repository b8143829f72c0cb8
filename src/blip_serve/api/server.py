"""The server process: uvicorn with our bounds, from its first request to its exit code."""

import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from blip_serve.api.protocol import BoundedProtocol
from blip_serve.settings import ServerSettings

SWITCH_S = 0.001
"""How long a thread may keep Python's lock while others wait for it; 5 ms is Python's own.

The device thread takes the lock many times in a step. With the event loop at work it would wait 5 ms each time: beside
requests that keep the loop busy a step took seconds.
"""
CANCELLED_S = 1.0
"""Seconds to answer the requests that did not end within the drain."""


def ending_signals() -> list[signal.Signals]:
    """The signals that end the process. SIGHUP is none of them where it was started with `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])]


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """uvicorn's configuration for an `app` of `create_app`, from the app's settings."""
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
    """uvicorn, but it announces SIGTERM and SIGHUP before the port closes, and ends when the device is lost."""

    def __init__(self, app: FastAPI, when_ready: Callable[[], None] = lambda: None) -> None:
        """`when_ready` is called once, when the preloaded models are ready."""
        super().__init__(uvicorn_config(app))
        self._app = app
        self._when_ready: Callable[[], None] | None = when_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles the signals that end it. uvicorn's own would raise them again at the end, for an exit code of -15."""
        loop = asyncio.get_running_loop()
        for number in ending_signals():
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM, SIGHUP: not ready now, closed after the delay. Ctrl-C: closed now. A second signal: ended now.

        A second SIGHUP is ignored: when a terminal closes, the system and the shell each send one.
        """
        if self._app.state.draining and sig == signal.SIGHUP:
            return
        if self._app.state.draining:
            self.should_exit = self.force_exit = True
            return
        self._app.state.draining = True
        delay = 0 if sig == signal.SIGINT else self._app.state.settings.server.shutdown_delay_s
        self._app.state.telemetry.log.info("draining", delay_s=delay)
        asyncio.get_running_loop().call_later(delay, setattr, self, "should_exit", True)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop."""
        if self._when_ready is not None and not self._app.state.tasks.not_ready():
            self._when_ready()
            self._when_ready = None
            sys.setswitchinterval(SWITCH_S)  # not before: models that load side by side would take longer
        return await super().on_tick(counter) or self.lost()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the port, lets requests in flight end, tells those that do not, ends the application."""
        self._app.state.draining = True
        await super().shutdown(sockets)
        if self.server_state.tasks and not self.force_exit:
            await asyncio.wait(self.server_state.tasks, timeout=CANCELLED_S)

    def lost(self) -> bool:
        """Whether the device or the decoders have a fault that only a new process recovers from."""
        tasks = getattr(self._app.state, "tasks", None)
        return tasks is not None and bool(tasks.lost())

    def run_to_exit(self, listener: socket.socket) -> NoReturn:
        """Serves on `listener` until told to stop, and ends the process: exit code 0, or 1 where requests were cut off.

        It waits for no thread: one that hangs on the device, or in a DNS look-up, would keep the process for good.
        """
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve([listener]))
            code = int(self.lost() or self.force_exit or not self.started)
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            os._exit(code)
