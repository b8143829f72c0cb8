"""`blip-serve eval t2i`: BLIP-VQA, the score of T2I-CompBench for pictures that were made of prompts."""

from pathlib import Path
from typing import Annotated

import typer

from blip_serve.cli.evaluate_options import EvaluateOptions
from blip_serve.jobs.evaluation.evaluation import Evaluation
from blip_serve.jobs.evaluation.t2i import T2i
from blip_serve.jobs.evaluation.t2i_files import read_questions


def t2i(
    options: EvaluateOptions,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Write the scores to this file, as T2I-CompBench's vqa_result.json."),
    ] = None,
) -> Evaluation:
    """Score pictures made of prompts: does each show all that its prompt names? T2I-CompBench's BLIP-VQA.

    DATA is the folder that T2I-CompBench calls --out_dir, with annotation1_blip/vqa_test.json and so on, or one such
    file. The pictures are in its folder `samples`, or in --images.
    """
    path = Path(options.data)
    return T2i(read_questions(path, options.images), path.resolve().name, results)
