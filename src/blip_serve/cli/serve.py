"""`blip-serve serve`: the HTTP service, one process for one device."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from blip_serve.allocator import keep_memory
from blip_serve.api.app import create_app
from blip_serve.catalogue import EMBEDDED
from blip_serve.cli.options import Config
from blip_serve.errors import ConfigurationError
from blip_serve.settings import AuthSettings, Settings


class Server(uvicorn.Server):
    """uvicorn, but it ends when the device thread has died, and a signal to stop is no failure."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops at SIGTERM and SIGINT; uvicorn's own raises them once more at the end, for an exit code of -15."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop."""
        return await super().on_tick(counter) or self.device_died()

    def device_died(self) -> bool:
        """Whether the engine came to a fault it does not recover from."""
        tasks = getattr(self._app.state, "tasks", None)
        return tasks is not None and bool(tasks.dead())


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Listen without API keys on any address.")] = False,
) -> None:
    """Serve over HTTP until SIGTERM or Ctrl-C; requests in flight are finished first."""
    keep_memory()
    settings = Settings.load(config)
    address = host or settings.server.host
    _refuse_without_keys(settings.auth, address, no_auth)
    app = create_app(settings)
    listener = _listen(address, settings.server.port if port is None else port)
    server = Server(
        app,
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.server.drain_timeout_s),
        ),
    )
    _announce(app, listener)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve([listener]))
    sys.exit(1 if server.device_died() or not server.started else 0)


def _refuse_without_keys(auth: AuthSettings, address: str, no_auth: bool) -> None:
    """Raises `ConfigurationError` where others could call and nobody said that they may."""
    if no_auth and auth.asks:
        raise ConfigurationError("--no-auth contradicts auth.keys and auth.keys_file")
    if not (auth.asks or auth.no_auth or no_auth or _is_loopback(address)):
        raise ConfigurationError(
            f"server.host: on {address} others can call: set auth.keys_file (`blip-serve keys create` makes keys), "
            "or say that anyone may with --no-auth (auth.no_auth)"
        )


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ip_address(address).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket; an address that cannot be had ends the start with its reason."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        print(f"blip-serve: cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _announce(app: FastAPI, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    picture = EMBEDDED / "pictures" / "red-circle.png"
    app.state.telemetry.log.info("serving", at=at, docs=f"{at}/docs", ready=f"{at}/readyz")
    print(
        f'\nTry it:\n\n  curl {at}/v1/match -F image=@{picture} -F caption="a large red circle" '
        '-F caption="a large blue circle"\n',
        file=sys.stderr,
    )
