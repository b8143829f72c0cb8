"""`blip-serve eval caption`: captions of pictures, measured as COCO measures them."""

from pathlib import Path
from typing import Annotated

import typer

from blip_serve.cli.evaluate_options import EvaluateOptions
from blip_serve.jobs.evaluation.caption import STYLES, Captioning
from blip_serve.jobs.evaluation.caption_metrics import caption_scorer
from blip_serve.jobs.evaluation.captioned import read_rows
from blip_serve.jobs.evaluation.evaluation import Evaluation
from blip_serve.jobs.evaluation.gallery import gallery
from blip_serve.jobs.evaluation.karpathy import read_entries


def caption(
    options: EvaluateOptions,
    results: Annotated[
        Path | None, typer.Option("--results", help="Write the captions in COCO's format to this .json file.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which part of a file that holds several.")] = "test",
    text: Annotated[str, typer.Option("--text", help="Column with the captions, in a table of pictures.")] = "caption",
) -> Evaluation:
    """Caption pictures: BLEU, ROUGE-L, CIDEr, and METEOR if Java is there, beside the captions that people wrote.

    DATA is in COCO's format (captions_val2014.json, BLIP's coco_karpathy_test_gt.json), Karpathy's split, a folder of
    pictures with a .txt beside each, a caption a line, or a table such as .jsonl. Captions are generated as in the
    paper: 3 beams after `a picture of`; with --protocol hf greedily, as on the model cards.
    """
    path = Path(options.data)
    if path.suffix == ".json":
        entries = read_entries(path, options.images, split)
    else:
        entries = list(read_rows(options.data, options.images, text))
    style = STYLES[options.protocol or "paper"]
    found = gallery(entries, options.data)
    return Captioning(found, path.name, caption_scorer(), style, "coco" in path.name.lower(), results)
