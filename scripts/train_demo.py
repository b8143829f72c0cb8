"""Trains an embedded demo checkpoint on drawn shapes and writes it, its card and the pictures into the package.

python scripts/train_demo.py retrieval                      # train, export, evaluate
python scripts/train_demo.py captioning                     # the same, beginning with the exported demo-retrieval
python scripts/train_demo.py vqa                            # likewise
python scripts/train_demo.py retrieval --evaluate FOLDER    # measure a saved folder again and rewrite its card
python scripts/train_demo.py retrieval --digests FOLDER     # write its digests.json again
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from demo.answering.task import ANSWERING
from demo.captioning.task import CAPTIONING
from demo.card import Training, read_training, write_card
from demo.digests import write_digests
from demo.explaining import explain_card, play
from demo.export import export
from demo.files import CHECKPOINTS
from demo.pictures import write_pictures
from demo.retrieval.task import RETRIEVAL
from demo.task import Task
from demo.training import Trainer

TASKS: Mapping[str, Task[Any]] = {"retrieval": RETRIEVAL, "captioning": CAPTIONING, "vqa": ANSWERING}
THREADS = 2

log = logging.getLogger("train_demo")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--out", type=Path, help="the folder to write, if not the package's")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--snapshot", type=Path, help="save to this file while training; go on from it if it exists")
    parser.add_argument("--evaluate", type=Path, metavar="FOLDER", help="only measure this folder and rewrite its card")
    parser.add_argument("--digests", type=Path, metavar="FOLDER", help="only write this folder's digests.json")
    return parser.parse_args()


def train(task: Task[Any], snapshot: Path | None) -> Trainer[Any]:
    """A trainer that has run its plan."""
    trainer = Trainer(task.plan, task.build, task.teach)
    if snapshot and snapshot.exists():
        trainer.load(snapshot)

    def report(step: int, losses: Mapping[str, float]) -> None:
        line = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        log.info("step %d of %d, %.0f s: %s", step, task.plan.steps, trainer.seconds, line)
        if snapshot:
            trainer.save(snapshot)

    trainer.run(report)
    return trainer


def finish(task: Task[Any], folder: Path, training: Mapping[str, object]) -> None:
    """Measures a folder, writes its card and logs what has a goal; the pictures are drawn anew beside it."""
    write_pictures(folder.parent / "pictures")
    metrics = task.measure(folder)
    write_card(task, folder, training, metrics, explain_card(task, play(task, folder)))
    write_digests(folder)
    for figure in task.figures(metrics):
        reached = "reached" if figure.value >= figure.goal else "MISSED"
        log.info("%s: %.4f (goal %.2f, %s)", figure.name, figure.value, figure.goal, reached)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    options = arguments()
    task = TASKS[options.task]
    if options.digests:
        write_digests(options.digests)
        return
    if options.evaluate:
        finish(task, options.evaluate, read_training(options.evaluate))
        return
    given = {name: getattr(options, name) for name in ("steps", "seed") if getattr(options, name) is not None}
    task = replace(task, plan=replace(task.plan, **given))
    trainer = train(task, options.snapshot)
    folder = options.out or CHECKPOINTS / task.name
    export(trainer.average, task.architecture, task.vocabulary, folder)
    finish(task, folder, _record(options.task, task, trainer))


def _record(command: str, task: Task[Any], trainer: Trainer[Any]) -> dict[str, object]:
    plan = trainer.plan
    return Training(
        command=f"python scripts/train_demo.py {command} --steps {plan.steps} --seed {plan.seed}",
        parent=task.parent,
        seed=plan.seed,
        steps=plan.steps,
        pictures=plan.steps * plan.batch,
        minutes=trainer.seconds / 60,
        resumed_at=trainer.resumed_at,
        parameters=sum(parameter.numel() for parameter in trainer.average.parameters()),
        numbers="bfloat16 products" if plan.bfloat16 else "float32",
    ).as_json()


if __name__ == "__main__":
    main()
