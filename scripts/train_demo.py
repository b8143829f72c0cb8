"""Trains the embedded demo checkpoint on drawn shapes and writes it, its card and its pictures into the package.

python scripts/train_demo.py                      # train, export, evaluate
python scripts/train_demo.py --evaluate FOLDER    # measure a saved folder again and rewrite its card
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from demo.card import Training, figures, read_training, write_card
from demo.dimensions import Dimensions
from demo.evaluation import Amounts, evaluate
from demo.export import export
from demo.pictures import score_pictures, write_pictures
from demo.scoring import Scorer
from demo.training import Plan, Trainer
from demo.vocabulary import VOCABULARY

CHECKPOINTS = Path(__file__).resolve().parents[1] / "src" / "blip_serve" / "checkpoints"
STEPS = 4000
THREADS = 2

log = logging.getLogger("train_demo")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=CHECKPOINTS / "demo-retrieval", help="the folder to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snapshot", type=Path, help="save to this file while training; go on from it if it exists")
    parser.add_argument("--evaluate", type=Path, metavar="FOLDER", help="only measure this folder and rewrite its card")
    return parser.parse_args()


def train(plan: Plan, dimensions: Dimensions, snapshot: Path | None) -> Trainer:
    """A trainer that has run its plan."""
    trainer = Trainer(plan, dimensions)
    if snapshot and snapshot.exists():
        trainer.load(snapshot)

    def report(step: int, losses: Mapping[str, float]) -> None:
        line = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        log.info("step %d of %d, %.0f s: %s", step, plan.steps, trainer.seconds, line)
        if snapshot:
            trainer.save(snapshot)

    trainer.run(report)
    return trainer


def measure(folder: Path) -> dict[str, object]:
    """Every figure of a saved folder; its pictures are drawn anew beside it."""
    amounts = Amounts()
    scorer = Scorer(folder)
    pictures = folder.parent / "pictures"
    write_pictures(pictures)
    return {
        **asdict(amounts),
        "seen": evaluate(scorer, amounts, unseen=False),
        "unseen": evaluate(scorer, amounts, unseen=True),
        "shipped_pictures": score_pictures(scorer, pictures),
    }


def finish(folder: Path, training: Mapping[str, object]) -> None:
    """Measures a folder, writes its card and logs what has a goal."""
    metrics = measure(folder)
    write_card(folder, training, metrics)
    for group, name, value, goal in figures(metrics):
        log.info("%s, %s: %.4f (goal %.2f, %s)", group, name, value, goal, "reached" if value >= goal else "MISSED")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    options = arguments()
    if options.evaluate:
        finish(options.evaluate, read_training(options.evaluate))
        return
    plan, dimensions = Plan(steps=options.steps, seed=options.seed), Dimensions(len(VOCABULARY))
    trainer = train(plan, dimensions, options.snapshot)
    export(trainer.average, dimensions, options.out)
    finish(options.out, _record(trainer))


def _record(trainer: Trainer) -> dict[str, object]:
    plan = trainer.plan
    command = f"python scripts/train_demo.py --steps {plan.steps} --seed {plan.seed}"
    return Training(
        command=command,
        seed=plan.seed,
        steps=plan.steps,
        pictures=plan.steps * plan.batch,
        minutes=trainer.seconds / 60,
        resumed_at=trainer.resumed_at,
        parameters=sum(parameter.numel() for parameter in trainer.average.parameters()),
    ).as_json()


if __name__ == "__main__":
    main()
