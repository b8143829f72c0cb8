"""`blip-serve eval retrieval`: finds texts of pictures, and pictures of texts, as the BLIP paper measures it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from blip_serve.cli.evaluate_options import EvaluateOptions
from blip_serve.jobs.evaluation.captioned import read_rows
from blip_serve.jobs.evaluation.evaluation import Evaluation
from blip_serve.jobs.evaluation.gallery import gallery
from blip_serve.jobs.evaluation.karpathy import read_entries
from blip_serve.jobs.evaluation.retrieval import K, Retrieval

DataSet = Literal["coco", "flickr30k"]


def retrieval(
    options: EvaluateOptions,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Candidates that are scored; else the paper's: 256, Flickr30k 128.")
    ] = None,
    dataset: Annotated[
        DataSet | None, typer.Option("--dataset", help="Whose published figures to show; else by DATA's name.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which part of a file that holds several.")] = "test",
    text: Annotated[str, typer.Option("--text", help="Column with the texts, in a table of pictures.")] = "caption",
) -> Evaluation:
    """Find the texts of pictures, and the pictures of texts: recall at 1, 5 and 10.

    DATA is Karpathy's split (BLIP's coco_karpathy_test.json, or dataset_coco.json), a folder of pictures with a .txt
    beside each, a text a line, or a table such as .jsonl.
    """
    path = Path(options.data)
    known = dataset or _named(path.name)
    if path.suffix == ".json":
        entries = read_entries(path, options.images, split)
    else:
        entries = list(read_rows(options.data, options.images, text))
    return Retrieval(gallery(entries, options.data), path.name, k or K[known or "coco"], known)


def _named(name: str) -> DataSet | None:
    """The data set that a file's name tells."""
    known: dict[str, DataSet] = {"coco": "coco", "flickr": "flickr30k"}
    return next((found for part, found in known.items() if part in name.lower()), None)
