"""`blip-serve bulk`: runs an operator over a data set, and goes on where an interrupted run ended."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from blip_serve.cli.bulk_options import (
    BulkOptions,
    Generation,
    MaxTokens,
    MinTokens,
    Temperature,
    TopP,
    bulk_command,
)
from blip_serve.cli.bulk_precision import AtPrecision
from blip_serve.cli.bulk_run import run_bulk
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.operators.answer import AnswerOperator
from blip_serve.jobs.operators.best import BestShare
from blip_serve.jobs.operators.capfilt import SAMPLED, THRESHOLD, CapFiltOperator
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.embed import EmbedOperator
from blip_serve.jobs.operators.filter import FilterOperator
from blip_serve.jobs.operators.match import MatchOperator, Score
from blip_serve.jobs.operators.operator import Operator
from blip_serve.jobs.operators.predicate import PredicateOperator
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.operators.wording import Wording

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Caption, score, embed or filter a data set, such as a folder, JSONL or Parquet; goes on where it stopped.",
)

TextColumn = Annotated[str, typer.Option("--text", help="Column with the text, or a list of texts.")]
Beginning = Annotated[str, typer.Option("--beginning", help="How each caption begins.")]
DEFAULT_SCORES: tuple[Score, ...] = ("itm", "cosine")
Several = Annotated[int, typer.Option("--n", min=1, help="Texts for each picture.")]


def caption(
    options: BulkOptions,
    generation: Generation,
    beginning: Beginning = "",
    n: Several = 1,
) -> Operator:
    """Caption each picture."""
    return CaptionOperator(beginning, generation.options, n, options.seed, _serving(options))


def answer(
    options: BulkOptions,
    generation: Generation,
    question: Annotated[str | None, typer.Option("--question", help="The question, the same for all rows.")] = None,
    question_column: Annotated[str | None, typer.Option("--text", help="Column with each row's own question.")] = None,
    n: Several = 1,
) -> Operator:
    """Answer a question about each picture."""
    asked = Wording(question, question_column, "--question")
    return AnswerOperator(asked, generation.options, n, options.seed, _serving(options))


def match(
    options: BulkOptions,
    text: TextColumn,
    score: Annotated[
        Literal["both", "itm", "cosine", "calibrated", "all"],
        typer.Option("--score", help="Which scores; `calibrated` needs a model with a calibration."),
    ] = "both",
) -> Operator:
    """Score each picture with the text, or the texts, of its row."""
    scores: tuple[Score, ...] = get_args(Score) if score == "all" else DEFAULT_SCORES if score == "both" else (score,)
    return MatchOperator(text, scores, lists=None, serving=_serving(options))


def embed(
    options: BulkOptions,
    text: Annotated[str | None, typer.Option("--text", help="Column with the text to embed; else the picture.")] = None,
) -> Operator:
    """Embed each picture, or the text of a column, as a unit vector."""
    return EmbedOperator(text, _serving(options))


def predicate(
    options: BulkOptions,
    statement: Annotated[
        str | None, typer.Option("--statement", help="The statement, the same for all rows; or a yes-no question.")
    ] = None,
    statement_column: Annotated[str | None, typer.Option("--text", help="Column with each row's own.")] = None,
) -> Operator:
    """Give the probability that a statement is true of each picture, or that the answer to a question is yes."""
    return PredicateOperator(Wording(statement, statement_column, "--statement"), _serving(options))


def filter(
    options: BulkOptions,
    by: Annotated[
        str, typer.Option("--by", help="The score: a column, or with --text a score of a match.")
    ] = "itm_score",
    at_least: Annotated[float | None, typer.Option("--at-least", help="The least score of the rows kept.")] = None,
    best: Annotated[float | None, typer.Option("--best", help="Keep this share of the rows, such as 0.3.")] = None,
    precision: Annotated[
        float | None, typer.Option("--precision", help="Keep rows of which this share is true, by a calibration.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="File of it; else the one in the model's settings.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Column with the text to match the picture with.")] = None,
) -> Operator | BestShare | AtPrecision:
    """Keep the rows with at least a score, the best share of them, or those of which a share is true."""
    if sum(each is not None for each in (at_least, best, precision)) != 1:
        raise ConfigurationError("Give --at-least, --best or --precision.")
    if calibration is not None and precision is None:
        raise ConfigurationError("--calibration needs --precision.")
    if precision is not None:
        return AtPrecision(by, precision, calibration, text, _serving(options))
    if at_least is not None:
        return FilterOperator(by, at_least, text, _serving(options))
    assert best is not None
    if text is not None:
        raise ConfigurationError("--best needs scores that are there: run `bulk match` first, and filter its output.")
    return BestShare(by, best)


def capfilt(
    options: BulkOptions,
    text: TextColumn,
    at_least: Annotated[float, typer.Option("--at-least", help="The least score of a text that is kept.")] = THRESHOLD,
    synthetic_at_least: Annotated[
        float | None, typer.Option("--synthetic-at-least", help="The same for generated captions, if it is another.")
    ] = None,
    captioner: Annotated[str | None, typer.Option("--captioner", help="Model that writes; else the default.")] = None,
    top_p: TopP = SAMPLED.top_p,
    temperature: Temperature = SAMPLED.temperature,
    max_tokens: MaxTokens = SAMPLED.max_tokens,
    min_tokens: MinTokens = SAMPLED.min_tokens,
    beginning: Beginning = "",
) -> Operator:
    """Caption each picture, and keep of the caption and of the row's own text what matches (BLIP's CapFilt).

    `--model` is the model that filters, by default with the protocol `paper`.
    """
    generation = replace(SAMPLED, top_p=top_p, temperature=temperature, max_tokens=max_tokens, min_tokens=min_tokens)
    matcher = replace(_serving(options), protocol=options.protocol or "paper")
    writer = Serving(captioner, options.protocol)
    return CapFiltOperator(text, at_least, synthetic_at_least, generation, beginning, options.seed, writer, matcher)


def _serving(options: BulkOptions) -> Serving:
    return Serving(options.model, options.protocol)


OPERATORS = (caption, answer, match, embed, predicate, filter, capfilt)
for make in OPERATORS:
    app.command(make.__name__)(bulk_command(make, run_bulk))
