"""`blip-serve eval`: measures a model on the field's data sets, and shows its figures beside the published ones."""

import typer

from blip_serve.cli.bulk_options import bulk_command
from blip_serve.cli.evaluate_caption import caption
from blip_serve.cli.evaluate_retrieval import retrieval
from blip_serve.cli.evaluate_run import run_evaluation
from blip_serve.cli.evaluate_t2i import t2i
from blip_serve.cli.evaluate_vqa import vqa

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Measure a model on the field's data sets, such as COCO; figures beside the published ones.",
)

EVALUATIONS = (retrieval, caption, vqa, t2i)
for make in EVALUATIONS:
    app.command(make.__name__)(bulk_command(make, run_evaluation))


@app.callback()
def evaluations() -> None:
    """Measure a model on the field's data sets, such as COCO; figures beside the published ones."""
