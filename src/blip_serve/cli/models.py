"""`blip-serve models`: lists the models of the settings, or those of a running server."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from blip_serve.api.model_pages import ModelList, model_page
from blip_serve.catalogue import DTYPE_BYTES
from blip_serve.cli.fits import as_json as fits_json
from blip_serve.cli.fits import keep_fits, print_fits
from blip_serve.cli.options import AsJson, Config
from blip_serve.cli.tables import Name
from blip_serve.errors import ConfigurationError
from blip_serve.settings import Settings
from blip_serve.tasks.checkpoints import fits, list_models, where


def models(
    url: Annotated[str | None, typer.Option(help="A running server, such as http://localhost:8000.")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its API key.", envvar="BLIP_API_KEY")] = None,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="Measure this machine for 5 seconds: does each model fit here, and how fast is it?"),
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List the models: state, and memory by number type.

    With --fit: memory at rest and in a full step, whether the model fits into the memory budget beside the preloaded
    ones, and pairs a second. The figures are kept and shown on the models' pages.
    """
    if fit:
        _fit(url, as_json, Settings.load(config))
        return
    pages = _of_server(url, api_key) if url else _of_settings(Settings.load(config))
    if as_json:
        print(json.dumps(pages, indent=2))
    else:
        Console().print(_table(pages))


def _fit(url: str | None, as_json: bool, settings: Settings) -> None:
    if url:
        raise ConfigurationError("--fit measures this machine: it goes without --url.")
    found = fits(settings)
    keep_fits(found, settings.data)
    if as_json:
        print(json.dumps(fits_json(found), indent=2))
    else:
        print_fits(found)


def _of_server(url: str, api_key: str | None) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.get(f"{url.rstrip('/')}/v1/models", headers=headers, timeout=10)
        response.raise_for_status()
        pages = ModelList.model_validate_json(response.content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        print(f"blip-serve: {url}: {error}", file=sys.stderr)
        sys.exit(1)
    except ValidationError:
        print(f"blip-serve: {url}: not a blip-serve server", file=sys.stderr)
        sys.exit(1)
    return [page.model_dump(mode="json") for page in pages.data]


def _of_settings(settings: Settings) -> list[dict[str, Any]]:
    """The models of the settings. No service runs, so `state` tells where their files are."""
    return [model_page(status).model_dump(mode="json") | {"state": where(status)} for status in list_models(settings)]


def _table(pages: list[dict[str, Any]]) -> Table:
    table = Table(box=None, caption="memory in MB", caption_justify="right")
    table.add_column("model")
    table.add_column("task")
    table.add_column("state", overflow="fold")
    for dtype in DTYPE_BYTES:
        table.add_column(dtype, justify="right")
    for page in pages:
        table.add_row(
            Name(page["id"]),
            ", ".join(page["tasks"] or ["?"]),
            page["state"] + (f": {page['error']}" if page["error"] else ""),
            *(_megabytes(page["memory_bytes"], dtype) for dtype in DTYPE_BYTES),
        )
    return table


def _megabytes(memory: Mapping[str, int], dtype: str) -> str:
    return f"{memory[dtype] / 1e6:.0f}" if dtype in memory else "?"
