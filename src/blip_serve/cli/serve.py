"""`blip-serve serve`: the HTTP service, one process for one device."""

import logging
import resource
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Annotated

import typer
from fastapi import FastAPI

from blip_serve.allocator import keep_memory
from blip_serve.api.app import create_app
from blip_serve.api.server import Server, ending_signals
from blip_serve.catalogue import EMBEDDED
from blip_serve.cli.options import Config
from blip_serve.errors import ConfigurationError
from blip_serve.hosts import is_loopback
from blip_serve.images.decode import check_formats
from blip_serve.lazily import imported
from blip_serve.loading import check_device
from blip_serve.settings import AuthSettings, Settings
from blip_serve.telemetry import LibraryLog, printable

QUICK = "blip_serve.doctor.examination:quick"
"""Imported for `--check` only, since it imports the hub's client."""
OWN_DESCRIPTORS = 512
"""File descriptors for all but client connections: checkpoints, image fetches, uploads."""


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Listen without API keys on any address.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="First make doctor's quick checks; exit 1 if one fails.")
    ] = False,
) -> None:
    """Serve over HTTP until SIGTERM, SIGHUP or Ctrl-C; requests in flight are finished first."""
    for number in set(ending_signals()) - {signal.SIGINT}:
        signal.signal(
            number, lambda *_: sys.exit(0)
        )  # until the server sets its own handler: no request was accepted yet
    keep_memory()
    settings = Settings.load(config)
    address = host or settings.server.host
    _refuse_without_keys(settings.auth, address, no_auth)
    if check:
        _exit_if_ill(settings)
    check_device(settings)
    check_formats(settings.images)
    _allow_descriptors(settings.server.max_connections + OWN_DESCRIPTORS)
    app = create_app(settings)
    logging.basicConfig(handlers=[LibraryLog(app.state.telemetry.log)])
    listener = _listen(address, settings.server.port if port is None else port)
    at = _address(listener)
    if loading := [model.id for model in settings.models if model.preload]:
        print(f"blip-serve: loading {', '.join(loading)}; {at}/readyz tells when they are ready", file=sys.stderr)
    Server(app, partial(_announce, app, at)).run_to_exit(listener)


def _exit_if_ill(settings: Settings) -> None:
    """Prints the quick checks that failed and those that could not be made, and exits if any failed."""
    report = imported(QUICK)(settings)
    for row in report.of("failed"):
        _tell(f"{row.part}: {row.name}: {row.seen}; expected: {row.expected}; {row.advice}")
    for row in report.of("not checked"):
        _tell(f"{row.part}: {row.name}: not checked: {row.seen}; {row.advice}")
    if report.exit_code == 1:
        sys.exit(1)


def _tell(line: str) -> None:
    print(f"blip-serve: {printable(line)}", file=sys.stderr)


def _refuse_without_keys(auth: AuthSettings, address: str, no_auth: bool) -> None:
    """Raises `ConfigurationError` if other machines could call without a key and no setting allows it."""
    if no_auth and auth.asks:
        raise ConfigurationError("--no-auth contradicts auth.keys and auth.keys_file")
    if not (auth.asks or auth.no_auth or no_auth or is_loopback(address)):
        raise ConfigurationError(
            f"server.host: on {address} others can call: set auth.keys_file (`blip-serve keys create` makes keys), "
            "or say that anyone may with --no-auth (auth.no_auth)"
        )


def _allow_descriptors(count: int) -> None:
    """Raises the process's limit of open files to `count`, or to the system's hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket. If the address cannot be used, prints the reason and exits."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        print(f"blip-serve: cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _address(listener: socket.socket) -> str:
    """The service's URL, as seen from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _announce(app: FastAPI, at: str) -> None:
    picture = EMBEDDED / "pictures" / "red-circle.png"
    app.state.telemetry.log.info("serving", at=at, docs=f"{at}/docs", ready=f"{at}/readyz")
    key = '-H "Authorization: Bearer $KEY" ' if app.state.settings.auth.asks else ""
    with suppress(OSError):  # standard error is closed
        print(
            f'\nTry it:\n\n  curl {at}/v1/match {key}-F image=@{picture} -F caption="a large red circle" '
            '-F caption="a large blue circle"\n',
            file=sys.stderr,
        )
