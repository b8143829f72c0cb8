"""The options of bulk commands: those that all share, those of generated texts, and how they make a command."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from blip_serve.cli.options import ApiKey, Config, Model, Protocol, Url
from blip_serve.domain import GenerationOptions
from blip_serve.jobs.destination import SinkKind
from blip_serve.jobs.pipeline import AT_ONCE
from blip_serve.jobs.plan import Shard
from blip_serve.jobs.sources.opening import Kind
from blip_serve.tasks.generate import CARD

MAX_SHARDS = 99_999


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOptions:
    """The options of every bulk command. Each field is one of the command's parameters."""

    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders, pictures, globs; .jsonl, .csv, .tsv, .parquet or .tar files; `-` for JSON lines on standard "
            "input. Also s3://, gs://, az://.",
            metavar="SOURCE...",
        ),
    ]
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Where rows go: a .jsonl or .parquet file, or a folder. Sidecars: beside the pictures."
        ),
    ] = None
    kind: Annotated[
        SinkKind | None, typer.Option("--as", help="What is written there, where the name does not say.")
    ] = None
    source_format: Annotated[
        Kind | None, typer.Option("--format", help="What the source is, where its name does not say.")
    ] = None
    image: Annotated[
        str | None, typer.Option("--image", help="Column with the picture: a path, a URL, a data URI or bytes.")
    ] = None
    key: Annotated[str | None, typer.Option("--key", help="Column that names a row; else its file and line.")] = None
    root: Annotated[
        str | None, typer.Option("--root", help="Folder that paths in a column are below; else that of the source.")
    ] = None
    sidecar: Annotated[
        str | None, typer.Option("--sidecar", help="Write a text file for each picture, of this extension: .txt")
    ] = None
    existing: Annotated[
        Literal["skip", "overwrite"], typer.Option("--existing", help="What to do where a sidecar is there already.")
    ] = "skip"
    prefix: Annotated[str, typer.Option("--prefix", help="Text that begins each sidecar.")] = ""
    suffix: Annotated[str, typer.Option("--suffix", help="Text that ends each sidecar.")] = ""
    with_images: Annotated[bool, typer.Option("--with-images", help="Write the pictures' bytes into Parquet too.")] = (
        False
    )
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="File of the rows that were dropped or failed; else beside --to.")
    ] = None
    model: Model = None
    protocol: Protocol = None
    url: Url = None
    api_key: ApiKey = None
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Run on a Ray cluster: `local` starts one on this machine, `auto` finds it, or HOST:PORT.",
        ),
    ] = None
    ray_actors: Annotated[
        int | None, typer.Option("--ray-actors", min=1, help="The most actors; else as many as the cluster has room.")
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Where texts are sampled; each row's seed follows from it.")
    ] = 0
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first rows of the source.")] = None
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Only this part of the rows, such as 2/8.")] = (
        "1/1"
    )
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Take up rows again that failed and may pass now.")
    ] = False
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=1024, help="Rows under way at once.")] = AT_ONCE
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False
    config: Config = None

    @property
    def part(self) -> Shard:
        """The shard. Raises `typer.BadParameter`."""
        number, _, of = self.shard.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= MAX_SHARDS):
            raise typer.BadParameter(
                "give the shard's number and how many there are, such as 2/8", param_hint="--shard"
            )
        return Shard(int(number) - 1, int(of))


MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Longest text, in tokens.")]
MinTokens = Annotated[int, typer.Option("--min-tokens", min=0, help="Shortest text, in tokens.")]
Temperature = Annotated[float, typer.Option("--temperature", min=0, help="Above 0, texts are sampled.")]
TopP = Annotated[float, typer.Option("--top-p", help="Sample among the likeliest tokens that sum up to this.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How texts are generated, as options."""

    max_tokens: MaxTokens = CARD.max_tokens
    min_tokens: MinTokens = CARD.min_tokens
    beams: Annotated[int, typer.Option("--beams", min=1, help="Beams of the search; 1 is greedy.")] = CARD.num_beams
    temperature: Temperature = CARD.temperature
    top_p: TopP = CARD.top_p
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, help="Sample among so many of the likeliest tokens; 0: all.")
    ] = CARD.top_k
    min_p: Annotated[
        float, typer.Option("--min-p", help="Leave out tokens less likely than this share of the likeliest.")
    ] = CARD.min_p
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Above 1, tokens used before are less likely.")
    ] = CARD.repetition_penalty
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="A text that ends the generated one; repeatable.")
    ] = None

    @property
    def options(self) -> GenerationOptions:
        """The options of the task."""
        return GenerationOptions(
            max_tokens=self.max_tokens,
            max_tokens_param="--max-tokens",
            min_tokens=self.min_tokens,
            num_beams=self.beams,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            stop=tuple(self.stop or ()),
        )


def bulk_command(make: Callable[..., Any], run: Callable[..., None]) -> Callable[..., None]:
    """A command that calls `run(name, options, made)`.

    `make` returns the operator. Its parameter `options` is the `BulkOptions`. A parameter whose type is a dataclass
    stands for the fields of that class: each becomes an option of the command.
    """
    groups: dict[str, type[Any]] = {
        each.name: each.annotation
        for each in _parameters(make)
        if isinstance(each.annotation, type) and is_dataclass(each.annotation)
    }
    own = [each for each in _parameters(make) if each.name not in groups]
    shared = {name: [_parameter(each) for each in fields(group)] for name, group in groups.items()}

    def command(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in shared[name]}) for name, group in groups.items()
        }
        run(make.__name__, made["options"], make(**made, **given))

    first, *common = shared["options"]
    parameters = [first, *own, *chain.from_iterable(shared[name] for name in groups if name != "options"), *common]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__name__, command.__doc__ = make.__name__, make.__doc__
    return command


def _parameters(make: Callable[..., Any]) -> list[inspect.Parameter]:
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inspect.signature(make).parameters.values()]


def _parameter(field: "Field[Any]") -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
