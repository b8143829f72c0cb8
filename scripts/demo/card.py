"""The model's card: card.json for programs and README.md for people, beside the weights."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from demo.captions import OPENINGS, OTHER_WORDS, PLURALS
from demo.export import write_json
from demo.scoring import PROTOCOLS
from demo.world import COLOURS, SHAPES, SIZES, UNSEEN_PAIRS

TEMPLATE = Path(__file__).with_name("card_template.md")
NAME = "blip-serve/demo-retrieval"
LICENCE = "BSD-3-Clause"
DESCRIPTION = (
    "A small BLIP trained from nothing on drawn shapes: it tells which coloured circles, squares, triangles, stars, "
    "crosses and rings a plain picture shows, and it knows nothing else. It is no general image-text model: its scores "
    "for photographs mean nothing."
)
GOALS = {
    "colour": 0.95,
    "size": 0.95,
    "shape": 0.92,
    "swap": 0.90,
    "cosine": 0.88,
    "reranked_hf": 0.95,
    "reranked_paper": 0.95,
}
_LABELS = {
    "colour": "a changed colour",
    "size": "a changed size",
    "shape": "a changed shape",
    "swap": "an attribute swapped between two things",
    "count": '"two" said of one thing',
    "cosine": "by cosine",
    "reranked_hf": "best 16 ranked again by ITM, `hf`",
    "reranked_paper": "best 16 ranked again by ITM, `paper`",
}


@dataclass(frozen=True)
class Training:
    """How a checkpoint came to be."""

    command: str
    seed: int
    steps: int
    pictures: int
    minutes: float
    resumed_at: list[int]
    parameters: int

    def as_json(self) -> dict[str, object]:
        return {
            "command": self.command,
            "seed": self.seed,
            "steps": self.steps,
            "pictures": self.pictures,
            "minutes": round(self.minutes, 1),
            "resumed_at": self.resumed_at,
            "parameters": self.parameters,
            "machine": machine(),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "transformers", "numpy", "pillow")},
        }


def machine() -> str:
    """The processor in words."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return f"{' / '.join(sorted(names)) or platform.machine()}, at most 2 threads, float32"


def world() -> dict[str, object]:
    """What the checkpoint knows."""
    return {
        "sizes": list(SIZES),
        "colours": list(COLOURS),
        "shapes": list(SHAPES),
        "things_in_a_picture": [1, 2],
        "grounds": "light and tinted, plain or noisy",
        "picture_side": 96,
        "captions": {
            "grammar": "THING | THING and THING | THING with THING | two THINGS",
            "thing": "a [size] [colour] shape",
            "openings": [" ".join(opening) for opening in OPENINGS],
            "other_words_for_sizes": OTHER_WORDS,
            "truth": "true when each named thing is there; things may go unnamed",
        },
        "unseen_pairs": sorted(f"{colour} {shape}" for colour, shape in UNSEEN_PAIRS),
    }


def write_card(folder: Path, training: Mapping[str, object], metrics: Mapping[str, object]) -> None:
    card = {
        "id": NAME,
        "task": "image-text matching and retrieval",
        "licence": LICENCE,
        "description": DESCRIPTION,
        "world": world(),
        "training": training,
        "metrics": metrics,
    }
    write_json(folder / "card.json", card)
    (folder / "README.md").write_text(_readme(card), encoding="utf-8")


def read_training(folder: Path) -> dict[str, object]:
    """How a folder's checkpoint was trained, from its card."""
    card: dict[str, dict[str, object]] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card["training"]


def figures(metrics: Mapping[str, Any]) -> list[tuple[str, str, float, float]]:
    """(group, figure, value, goal) of all that has a goal; recalls count with their lesser direction."""
    seen = metrics["seen"]
    rows = [
        (f"ITM accuracy, `{protocol}`", name, value, GOALS[name])
        for protocol, accuracies in seen["itm_accuracy"].items()
        for name, value in accuracies.items()
        if name in GOALS
    ]
    recalls = seen["recall_at_1"]
    return rows + [("R@1", name, min(recall.values()), GOALS[name]) for name, recall in recalls.items()]


def _readme(card: Mapping[str, Any]) -> str:
    training, metrics = card["training"], card["metrics"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        name=NAME,
        description=DESCRIPTION,
        licence=LICENCE,
        shapes=", ".join(PLURALS.values()),
        colours=", ".join(COLOURS),
        sizes=" or ".join(SIZES),
        unseen_pairs=", ".join(card["world"]["unseen_pairs"]),
        accuracy_table=_accuracy_table(metrics),
        recall_table=_recall_table(metrics),
        picture_table=_picture_table(metrics["shipped_pictures"]),
        drawn=training["pictures"],
        resumed=_resumed(training["resumed_at"]),
        **{name: training[name] for name in ("command", "steps", "seed", "minutes", "machine", "parameters")},
        **{name: metrics[name] for name in ("pictures", "gallery", "galleries")},
    )


def _resumed(steps: list[int]) -> str:
    return f" The run was taken up again from a snapshot at {', '.join(map(str, steps))} steps." if steps else ""


def _accuracy_table(metrics: Mapping[str, Any]) -> str:
    lines = [
        "| ITM accuracy: false by | goal | `hf` | `paper` | unseen, `hf` | unseen, `paper` |",
        "|---|---|---|---|---|---|",
    ]
    for rule in metrics["seen"]["itm_accuracy"]["hf"]:
        measured = [metrics[kind]["itm_accuracy"][protocol] for kind in ("seen", "unseen") for protocol in PROTOCOLS]
        cells = [accuracies[rule] for accuracies in measured]
        goal = f"{GOALS[rule]:.2f}" if rule in GOALS else "none"
        lines.append(f"| {_LABELS[rule]} | {goal} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)


def _recall_table(metrics: Mapping[str, Any]) -> str:
    lines = [
        "| R@1 | goal | text to image | image to text | unseen, text to image | unseen, image to text |",
        "|---|---|---|---|---|---|",
    ]
    for name in metrics["seen"]["recall_at_1"]:
        recalls = [metrics[kind]["recall_at_1"][name] for kind in ("seen", "unseen")]
        cells = [recall[direction] for recall in recalls for direction in ("text_to_image", "image_to_text")]
        lines.append(f"| {_LABELS[name]} | {GOALS[name]:.2f} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)


def _picture_table(pictures: Mapping[str, Any]) -> str:
    lines = ["| picture | right, `hf` | wrong, `hf` | right, `paper` | wrong, `paper` |", "|---|---|---|---|---|"]
    for name, scores in pictures.items():
        cells = [scores[protocol][caption] for protocol in PROTOCOLS for caption in ("caption", "wrong")]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)
