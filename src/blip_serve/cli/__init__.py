"""The command line, one file per command. Invalid settings end it with exit code 2 and the name of the key."""

import gc
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from blip_serve import __version__
from blip_serve.errors import ConfigurationError


class Entry(NamedTuple):
    """A command that is not yet imported: its path, and its line in the list of commands."""

    path: str
    summary: str


COMMANDS = {
    "serve": Entry(
        "blip_serve.cli.serve:serve",
        "Serve over HTTP until SIGTERM, SIGHUP or Ctrl-C; requests in flight are finished first.",
    ),
    "match": Entry("blip_serve.cli.match:match", "Score every image against every caption."),
    "caption": Entry(
        "blip_serve.cli.caption:caption",
        "Caption pictures, one line each; those of a folder in the order of their names.",
    ),
    "bulk": Entry(
        "blip_serve.cli.bulk:app",
        "Caption, score, embed or filter a data set, such as a folder, JSONL or Parquet; goes on where it stopped.",
    ),
    "calibrate": Entry(
        "blip_serve.cli.calibrate:calibrate",
        "Make a probability that holds of a model's ITM scores, by labelled pairs; goes on where it stopped.",
    ),
    "embed": Entry(
        "blip_serve.cli.embed:embed",
        "Embed images and texts in one space: the dot product of two vectors is their cosine.",
    ),
    "rerank": Entry("blip_serve.cli.rerank:rerank", "Order images by a text, or texts by an image, the best first."),
    "explain": Entry(
        "blip_serve.cli.explain:explain",
        "Show where a picture matches each word of a caption, in words or as heat over it.",
    ),
    "eval": Entry(
        "blip_serve.cli.evaluate:app",
        "Measure a model on the field's data sets, such as COCO; figures beside the published ones.",
    ),
    "models": Entry("blip_serve.cli.models:models", "List the models: state, and memory by number type."),
    "pull": Entry(
        "blip_serve.cli.pull:pull",
        "Download models into the hub's cache (HF_HOME), checked by the hub's digests, and print their folders.",
    ),
    "doctor": Entry(
        "blip_serve.cli.doctor:doctor",
        "Check machine, configuration and a model's files, weights and answers; say what to do.",
    ),
    "keys": Entry("blip_serve.cli.keys:app", "Make, list and revoke API keys."),
}
"""The commands. A command and its dependencies are imported only when it is called."""


class LazyGroup(TyperGroup):
    """Lists the commands in `COMMANDS`, and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        listed = {name: TyperCommand(name, help=entry.summary) for name, entry in COMMANDS.items()}
        super().__init__(**attributes | {"commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Imports the command that `args` start with. Returns it and the rest of `args`."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and imported(str(listed.name)), rest


def imported(name: str) -> Any:
    """Imports a command of `COMMANDS`."""
    module, _, attribute = COMMANDS[name].path.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    return get_command(found)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Serve BLIP vision-language models over HTTP, or use them from here."""
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line."""
    # Pillow's warnings of damaged EXIF data quote the file, and Python would keep every different warning for ever.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        app()
    except ConfigurationError as error:
        tell(error)
        sys.exit(2)
    finally:
        gc.freeze()  # saves half a second at exit: no collection over torch's objects


def tell(error: ConfigurationError) -> None:
    """Prints an error on standard error. A file's name that it quotes does nothing to the terminal."""
    printable = import_module("blip_serve.telemetry").printable  # imported by then; `--help` needs none of it
    print("blip-serve:", "\n".join(map(printable, str(error).split("\n"))), file=sys.stderr)
