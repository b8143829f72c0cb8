"""Which layer of a checkpoint shows best where its words are, by the pointing game; what its card says of that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blip_serve.domain import ExplainMethod, Layer
from blip_serve.in_process import BlipServe
from blip_serve.settings import LogSettings, ModelSettings, Settings
from demo.pointing import Hits, Tally, rounds
from demo.tables import table
from demo.task import Task
from demo.world import ATTRIBUTES

PICTURES = 500
MODEL = "demo/explained"
Game = Mapping[tuple[ExplainMethod, Layer], Mapping[str, Hits]]

_SECTION = """\
The pointing game, by blip-serve's own maps: on {pictures} pictures drawn from other seeds than training's, of two
things that differ in size, colour and shape, the share of words whose map is strongest in the box of the thing that the
word names (1.1 radii around its centre; {chance:.1%} of the picture, which is what chance would hit). The default is
`{method}` at layer {layer}, the layer whose worst kind of word is best.

{shares}"""
_GRADCAM = """

Bare attention points better in these pictures, and still it is not the default: it shows where the text looks, whatever
the score; Grad-CAM shows what raised the score. From the last layer only position 0, which is no word, reaches the
match head, so Grad-CAM of a word is 0 there."""


def play(task: Task[Any], folder: Path, pictures: int = PICTURES) -> Game:
    """Plays by every method and layer that the checkpoint has."""
    layers: list[Layer] = [*range(_layers(folder)), "all"]
    ways = [(method, layer) for method in task.methods for layer in layers]
    tallies = {way: Tally() for way in ways}
    with BlipServe(_settings(folder)) as service:
        for each in rounds(pictures, task.tell):
            for told in each.told:
                for method, layer in ways:
                    result = service.explain(
                        each.picture, told.text, question=told.question, method=method, layer=layer
                    )
                    [found] = result.explanations
                    words = found.explanation.words
                    tallies[method, layer].count([(word.word, word.map) for word in words], each.named)
    return {way: tally.hits() for way, tally in tallies.items()}


def best_layer(game: Game, method: ExplainMethod) -> Layer:
    """The layer whose worst kind of word is best."""
    return max(
        (layer for by, layer in game if by == method),
        key=lambda layer: min(hits.share for hits in game[method, layer].values()),
    )


def explain_card(task: Task[Any], game: Game) -> dict[str, Any]:
    """What card.json says: the default method and layer, and the share of hits by method, layer and kind of word."""
    method = task.methods[0]
    layer = best_layer(game, method)
    chances = [hits.chance for hits in game[method, layer].values()]
    shares: dict[str, dict[str, dict[str, float]]] = {by: {} for by in task.methods}
    for (by, at), kinds in game.items():
        shares[by][str(at)] = {kind: round(hits.share, 3) for kind, hits in kinds.items()}
    pointing = {"pictures": PICTURES, "chance": round(sum(chances) / len(chances), 3), **shares}
    return {"method": method, "layer": layer, "pointing": pointing}


def section(task: Task[Any], explain: Mapping[str, Any]) -> str:
    """What the card for people says, of what `explain_card` made."""
    pointing = explain["pointing"]
    rows = [
        [f"`{method}`", layer, *(shares[kind] for kind in ATTRIBUTES)]
        for method in task.methods
        for layer, shares in pointing[method].items()
    ]
    return (_SECTION + (_GRADCAM if "gradcam" in task.methods else "")).format(
        pictures=pointing["pictures"],
        chance=pointing["chance"],
        method=explain["method"],
        layer=explain["layer"],
        shares=table(["method", "layer", *ATTRIBUTES], rows),
    )


def _layers(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    count: int = config["text_config"]["num_hidden_layers"]
    return count


def _settings(folder: Path) -> Settings:
    return Settings(
        device="cpu",
        dtype="float32",
        catalogue=False,
        models=(ModelSettings(id=MODEL, source=str(folder)),),
        log=LogSettings(level="error"),
    )
