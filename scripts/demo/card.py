"""The model's card: card.json for programs and README.md for people, beside the weights."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from demo.captions import PLURALS
from demo.explaining import section
from demo.files import write_json
from demo.task import Metrics, Task
from demo.world import COLOURS, SHAPES, SIZES, UNSEEN_PAIRS

TEMPLATE = Path(__file__).with_name("card_template.md")
OWNER = "blip-serve"
LICENCE = "BSD-3-Clause"


@dataclass(frozen=True)
class Training:
    """How a checkpoint came to be."""

    command: str
    parent: str | None
    seed: int
    steps: int
    pictures: int
    minutes: float
    resumed_at: list[int]
    parameters: int
    numbers: str

    def as_json(self) -> dict[str, object]:
        return {
            "command": self.command,
            **({"began_with": f"{OWNER}/{self.parent}"} if self.parent else {}),
            "seed": self.seed,
            "steps": self.steps,
            "pictures": self.pictures,
            "minutes": round(self.minutes, 1),
            "resumed_at": self.resumed_at,
            "parameters": self.parameters,
            "machine": f"{processor()}, at most 2 threads, {self.numbers}",
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "transformers", "numpy", "pillow")},
        }


def processor() -> str:
    """The processor in words."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return " / ".join(sorted(names)) or platform.machine()


def world(language: Mapping[str, object]) -> dict[str, object]:
    """What the checkpoint knows."""
    return {
        "sizes": list(SIZES),
        "colours": list(COLOURS),
        "shapes": list(SHAPES),
        "things_in_a_picture": [1, 2],
        "grounds": "light and tinted, plain or noisy",
        "picture_side": 96,
        **language,
        "unseen_pairs": unseen_pairs(),
    }


def unseen_pairs() -> list[str]:
    return sorted(f"{colour} {shape}" for colour, shape in UNSEEN_PAIRS)


def write_card(
    task: Task[Any], folder: Path, training: Mapping[str, Any], metrics: Metrics, explain: Mapping[str, Any]
) -> None:
    card = {
        "id": f"{OWNER}/{task.name}",
        "task": task.prose.task,
        "licence": LICENCE,
        "description": task.prose.description,
        "world": world(task.prose.language),
        "explain": explain,
        "training": training,
        "metrics": metrics,
    }
    write_json(folder / "card.json", card)
    (folder / "README.md").write_text(_readme(task, training, metrics, explain), encoding="utf-8")


def read_training(folder: Path) -> dict[str, object]:
    """How a folder's checkpoint was trained, from its card."""
    card: dict[str, dict[str, object]] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card["training"]


def _readme(task: Task[Any], training: Mapping[str, Any], metrics: Metrics, explain: Mapping[str, Any]) -> str:
    prose = task.prose
    return TEMPLATE.read_text(encoding="utf-8").format(
        name=f"{OWNER}/{task.name}",
        description=prose.description,
        architecture=task.architecture,
        licence=LICENCE,
        shapes=", ".join(PLURALS.values()),
        colours=", ".join(COLOURS),
        sizes=" or ".join(SIZES),
        knows=prose.knows,
        measured=prose.measured(metrics),
        explained=section(task, explain),
        taught=prose.taught,
        drawn=training["pictures"],
        resumed=_resumed(training["resumed_at"]),
        **{name: training[name] for name in ("command", "steps", "seed", "minutes", "machine", "parameters")},
    )


def _resumed(steps: list[int]) -> str:
    return f" The run was taken up again from a snapshot at {', '.join(map(str, steps))} steps." if steps else ""
