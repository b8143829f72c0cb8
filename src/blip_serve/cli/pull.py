"""`blip-serve pull`: brings checkpoints here, so that a service can run offline later; or writes them as a folder."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from blip_serve.cli.options import Config
from blip_serve.errors import CheckpointError, ConfigurationError
from blip_serve.settings import Settings
from blip_serve.tasks.checkpoints import fetch, list_models, write_folder
from blip_serve.telemetry import printable

ORIGINAL = ".pth"
"""The end of the names of Salesforce's own checkpoints, which hold weights alone."""


def pull(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Model of the settings or the catalogue, hub id (OWNER/NAME or OWNER/NAME@REVISION), folder, or "
            "Salesforce's .pth file; all models of the settings where absent.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="New folder to write one SOURCE to, with its weights in one model.safetensors."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", help="For a .pth: the checkpoint whose configuration and vocabulary it has, any SOURCE."
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Download models into the hub's cache (HF_HOME), checked by the hub's digests, and print their folders.

    A download that was interrupted goes on where it stopped. A model that cannot be had is reported on standard error,
    and the others go on; the exit code is then 1.
    """
    _check(sources or [], to, like)
    settings = Settings.load(config)
    configured = list_models(settings.model_copy(update={"catalogue": False}))
    names = sources or [status.id for status in configured if status.parent is None]
    failed = [name for name in names if not _done(name, to, like, settings)]
    sys.exit(bool(failed))


def _done(name: str, to: Path | None, like: str | None, settings: Settings) -> bool:
    """Whether a SOURCE could be brought. Prints its folder, or why not."""
    try:
        print(f"{name}: {_bring(name, to, like, settings)}", flush=True)
    except CheckpointError as error:
        _tell(f"{name}: {error}")
        return False
    except OSError as error:
        _tell(f"{name}: {error.filename or 'the disk'}: {error.strerror or error}")
        return False
    return True


def _bring(name: str, to: Path | None, like: str | None, settings: Settings) -> Path:
    """The folder of a SOURCE, which is written if `to` names one."""
    folder = fetch(like or name, settings, _tell)
    if to is None:
        return folder
    write_folder(Path(name) if like else folder, folder, to)
    return to


def _check(sources: Sequence[str], to: Path | None, like: str | None) -> None:
    """Raises `ConfigurationError` for options that do not go together."""
    originals = [source for source in sources if source.endswith(ORIGINAL)]
    for source in originals:
        if not Path(source).is_file():
            raise ConfigurationError(f"{source}: no such file")
        if like is None:
            raise ConfigurationError(
                f"{source}: holds weights alone; --like names a checkpoint of the same kind and size"
            )
        if to is None:
            raise ConfigurationError(f"{source}: --to must name the folder to write it to")
    if like is not None and not originals:
        raise ConfigurationError("--like: is for a .pth file, which has no configuration of its own")
    if to is not None and len(sources) != 1:
        raise ConfigurationError(f"--to: takes one SOURCE, not {len(sources) or 'none'}")
    if to is not None and (to.is_file() or (to.is_dir() and any(to.iterdir()))):
        raise ConfigurationError(f"--to: {to} is there already, and not an empty folder")


def _tell(text: str) -> None:
    print(f"blip-serve: {printable(text)}", file=sys.stderr, flush=True)
