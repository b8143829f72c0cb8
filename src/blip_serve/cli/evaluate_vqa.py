"""`blip-serve eval vqa`: answers to VQA's questions, with its official accuracy."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from blip_serve.cli.evaluate_options import EvaluateOptions
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.evaluation import Evaluation
from blip_serve.jobs.evaluation.vqa import GENERATED, Vqa
from blip_serve.jobs.evaluation.vqa_files import read_annotations, read_answers, read_questions


def vqa(
    options: EvaluateOptions,
    annotations: Annotated[
        Path | None, typer.Option("--annotations", help="VQA's file of the answers that people gave.")
    ] = None,
    by: Annotated[
        Literal["generate", "rank"], typer.Option("--by", help="Generate answers, or choose among those of --answers.")
    ] = "generate",
    answers: Annotated[
        Path | None, typer.Option("--answers", help="List to choose from, such as BLIP's answer_list.json.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Write the answers to this .json file, as VQA takes them.")
    ] = None,
) -> Evaluation:
    """Answer VQA's questions: the official accuracy, of all and by the kind of answer.

    DATA are VQA's questions (v2_OpenEnded_mscoco_val2014_questions.json), or BLIP's (vqa_test.json). Answers are
    generated as in the paper, by 3 beams; with --protocol hf greedily, as on the model cards.
    """
    if (by == "rank") != (answers is not None):
        raise ConfigurationError("--by rank chooses among the answers of --answers FILE: give both, or neither")
    if annotations is None and results is None:
        raise ConfigurationError("Give --annotations for the accuracy, or --results to hand the answers in")
    if annotations is None and options.chart:
        raise ConfigurationError("--chart draws the accuracy, which needs --annotations")
    path = Path(options.data)
    asked = read_questions(path, options.images)
    known = read_annotations(annotations, asked.questions) if annotations else None
    listed = read_answers(answers) if answers else None
    return Vqa(asked, path.name, known, listed, GENERATED[options.protocol or "paper"], results)
