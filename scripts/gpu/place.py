"""Where rows are measured, and with what: large checkpoints in float16 on a card; the demos on a CPU, as a trial."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

from bench.bodies import Fresh
from bench.checkpoints import SizeName, checkpoint
from bench.pictures import Pictures
from blip_serve.catalogue import EMBEDDED
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.matcher import Matcher
from gpu.needs import ROOT
from tests.support.checkpoints import Kind
from tests.support.loading import load

CACHE = ROOT / "build" / "gpu"
MODEL = "gpu/model"
DEMO: dict[Kind, str] = {"retrieval": "demo-retrieval", "captioning": "demo-captioning", "answering": "demo-vqa"}
CLASSES: dict[Kind, Any] = {"retrieval": Matcher, "captioning": Captioner, "answering": Answerer}
SIZES: dict[Kind, SizeName] = {"retrieval": "large", "captioning": "large", "answering": "base"}
DRAWN = 8
"""Pictures that all others are copies of, with a comment of their own each."""


@dataclass(frozen=True)
class Place:
    """A card, or the CPU that a trial runs on."""

    on_card: bool

    @property
    def device(self) -> str:
        """As torch names it."""
        return "cuda" if self.on_card else "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """What is measured."""
        return torch.float16 if self.on_card else torch.float32

    @property
    def cores(self) -> int:
        """That this process may run on."""
        return len(os.sched_getaffinity(0))

    @cached_property
    def pictures(self) -> Fresh:
        """Pictures of 640x480 without end, that no cache knows."""
        return Fresh(Pictures().take(DRAWN))

    def take(self, count: int) -> list[bytes]:
        """So many of them."""
        return [next(self.pictures) for _ in range(count)]

    def folder(self, kind: Kind) -> Path:
        """A checkpoint's."""
        return checkpoint(CACHE, SIZES[kind], kind) if self.on_card else EMBEDDED / DEMO[kind]

    def vision(self, kind: Kind) -> dict[str, int]:
        """The checkpoint's numbers of its vision tower."""
        found: dict[str, int] = json.loads((self.folder(kind) / "config.json").read_text())["vision_config"]
        return found

    def name(self, kind: Kind) -> str:
        """The checkpoint's, in a table."""
        return f"{SIZES[kind]} float16" if self.on_card else "demo float32"

    def load(self, kind: Kind, **engine: Any) -> Any:
        """The model, with settings of the engine."""
        dtype = str(self.dtype).removeprefix("torch.")
        return load(CLASSES[kind], self.folder(kind), device=self.device, dtype=dtype, engine=engine)

    def shipped(self, **engine: Any) -> dict[str, Any]:
        """The configuration that the project ships, with the retrieval checkpoint as the only model."""
        content: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{self.device}.yaml").read_text())
        model = {"id": MODEL, "source": str(self.folder("retrieval")), "preload": True}
        ours = {"models": [model], "catalogue": False, "log": {"level": "error"}}
        return content | ours | {"engine": content["engine"] | engine}
