"""The command line: one file a command. Settings that cannot be used end it with exit code 2 and the key's name."""

import sys
import warnings
from typing import Annotated

import typer

from blip_serve import __version__
from blip_serve.cli import caption, embed, keys, match, models, pull, rerank, serve
from blip_serve.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(serve.serve)
app.command()(match.match)
app.command()(caption.caption)
app.command()(embed.embed)
app.command()(rerank.rerank)
app.command()(models.models)
app.command()(pull.pull)
app.add_typer(keys.app, name="keys")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Serve BLIP vision-language models over HTTP, or use them from here."""
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line."""
    # Pillow warns of damaged EXIF data in words taken from the file, and Python would keep each for ever.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        app()
    except ConfigurationError as error:
        print(f"blip-serve: {error}", file=sys.stderr)
        sys.exit(2)
