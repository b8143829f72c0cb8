"""Galleries that are drawn from a seed, in the shape of BLIP's own file of annotations."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from bench.pictures import Pictures, captions
from demo.captions import plain_captions
from demo.drawing import Artist, draw
from demo.world import Scene, World

ANNOTATIONS = "coco_karpathy_test.json"


@dataclass(frozen=True)
class Drawn:
    """A gallery on the disk. `names`: of the pictures; `texts`: of each of them."""

    folder: Path
    names: Sequence[str]
    texts: Sequence[Sequence[str]]

    @property
    def annotations(self) -> Path:
        """BLIP's file."""
        return self.folder / ANNOTATIONS

    @property
    def pictures(self) -> list[Path]:
        """The pictures' files."""
        return [self.folder / name for name in self.names]

    def write(self) -> "Drawn":
        """Writes the file of annotations."""
        entries = [{"image": name, "caption": own} for name, own in zip(self.names, self.texts, strict=True)]
        self.annotations.write_text(json.dumps(entries), encoding="utf-8")
        return self


def shapes(folder: Path, count: int) -> Drawn:
    """Pictures of one or two things, as the demo checkpoints know them, no two with the same things.

    The captions of each say everything, in each order of its things.
    """
    random = Random(f"gallery of {count}")
    world, scenes = World(random), dict[object, Scene]()
    while len(scenes) < count:
        scene = world.scene()
        scenes.setdefault(scene.key, scene)
    names = [f"{number:04d}.png" for number in range(count)]
    for name, scene in zip(names, scenes.values(), strict=True):
        Image.fromarray(draw(Artist(random).layout(scene, noise=False), random)).save(folder / name)
    texts = [[" ".join(words) for words in plain_captions(scene)] for scene in scenes.values()]
    return Drawn(folder, names, texts).write()


def photographs(folder: Path, count: int, texts: int) -> Drawn:
    """Noise of a photograph's size, with so many captions each, of 12 tokens, as COCO's have on average."""
    names = [f"{number:04d}.jpg" for number in range(count)]
    for name, picture in zip(names, Pictures().take(count), strict=True):
        (folder / name).write_bytes(picture)
    words = captions(count * texts)
    return Drawn(folder, names, [words[start : start + texts] for start in range(0, len(words), texts)]).write()
