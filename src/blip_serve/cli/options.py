"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from blip_serve.domain import ScoringProtocol


def _not_empty(name: str | None) -> str | None:
    if name == "":
        raise typer.BadParameter(
            "is empty; `blip-serve models` lists the names, and without the option it is the default"
        )
    return name


Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file of settings; the environment overrides it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Id or alias; the configured default where absent.", callback=_not_empty),
]
Protocol = Annotated[ScoringProtocol | None, typer.Option("--protocol", help="Scoring protocol; see the README.")]
Url = Annotated[
    str | None, typer.Option("--url", help="A running server to use, as background work; else models load here.")
]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="OPENAI_API_KEY", help="The server's API key.", show_envvar=True)
]
