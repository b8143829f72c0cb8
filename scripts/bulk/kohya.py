"""Captions by beams beside kohya's `make_captions.py --beam_search`: the same texts, and how many times as fast.

Theirs is `finetune/make_captions.py` of github.com/kohya-ss/sd-scripts at 48d368f, rebuilt on transformers: a picture
at a time, its own preprocessing, a prompt that is taken off again, 5 to 75 tokens with the prompt. Ours runs through
the service, many at once. Both have the same weights, each in a process of its own.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BertTokenizer, BlipForConditionalGeneration
from transformers.utils import logging

from bench.bench import CACHE
from bench.checkpoints import checkpoint
from bench.machine import describe
from bench.markdown import table
from bench.pictures import Pictures
from bench.sides.apart import Apart
from blip_serve.allocator import keep_memory
from blip_serve.domain import GenerationOptions
from blip_serve.in_process import BlipServe, local_settings
from blip_serve.settings import ModelSettings
from bulk.quiet import Watch

SIDE = 384
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PROMPT = "a picture of"
PROMPT_TOKENS = 4
"""`[DEC]` and the prompt's words."""
LONGEST, SHORTEST = 75, 5
"""Their `--max_length` and `--min_length`, which count the prompt's tokens."""
SEED, WARM = 0, 3
EXACT, EXACT_AVX2, FAST = 1.8, 1.25, 5.0
"""How many times as fast ours shall be: in float32, on a machine with AVX2 at most, and in bfloat16."""
PACKAGES = ("torch", "transformers", "pillow")


@dataclass(frozen=True, slots=True)
class Captioned:
    """A caption without its prompt, and the tokens that were generated, the end included."""

    text: str
    tokens: int


class Theirs:
    """`make_captions.py` with `--beam_search`. Gradients are not kept, which is as kind as their `no_grad`."""

    def __init__(self, folder: Path, dtype: str) -> None:
        quiet: Any = logging  # untyped
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        loaded: Any = BlipForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype))
        self._model = loaded.eval()
        self._dtype = getattr(torch, dtype)
        self._tokenizer: Any = BertTokenizer.from_pretrained(folder)
        self._prompt = self._tokenizer(PROMPT, return_tensors="pt").input_ids
        self._end = loaded.config.text_config.sep_token_id

    @torch.inference_mode()
    def captions(self, pictures: Sequence[bytes], beams: int) -> list[Captioned]:
        """One after the other."""
        return [self._caption(picture, beams) for picture in pictures]

    def _caption(self, picture: bytes, beams: int) -> Captioned:
        ids = self._model.generate(
            pixel_values=_pixels(picture).to(self._dtype)[None],
            input_ids=self._prompt.clone(),
            num_beams=beams,
            max_length=LONGEST,
            min_length=SHORTEST,
            repetition_penalty=1.0,
        )[0]
        new = ids[PROMPT_TOKENS:].tolist()
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return Captioned(text[len(PROMPT) :].strip(), new.index(self._end) + 1 if self._end in new else len(new))


def _pixels(picture: bytes) -> Tensor:
    """(3, S, S): torchvision's `Resize` of a Pillow image is Pillow's, then `ToTensor` and `Normalize`."""
    image = Image.open(BytesIO(picture)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


class Ours:
    """The service in this process, asked for many captions at once."""

    def __init__(self, folder: Path, dtype: str, window: int) -> None:
        model = ModelSettings(id="bulk/captioner", source=str(folder), preload=True)
        changes = {"models": (model,), "catalogue": False, "dtype": dtype}
        self._service = BlipServe(local_settings().model_copy(update=changes))
        self._window = window

    def captions(self, pictures: Sequence[bytes], beams: int) -> list[Captioned]:
        """All at once, as far as the window goes."""
        with ThreadPoolExecutor(self._window) as threads:
            return list(threads.map(lambda picture: self._caption(picture, beams), pictures))

    def _caption(self, picture: bytes, beams: int) -> Captioned:
        options = GenerationOptions(
            num_beams=beams, min_tokens=SHORTEST - PROMPT_TOKENS, max_tokens=LONGEST - PROMPT_TOKENS
        )
        [found] = self._service.caption(picture, PROMPT, options=options).texts
        return Captioned(found.text.removeprefix(PROMPT).strip(), found.tokens)

    def close(self) -> None:
        """Ends the service."""
        self._service.close()


def _ours(folder: Path, dtype: str, window: int) -> Ours:
    keep_memory()  # as commands that compute for long do
    return Ours(folder, dtype, window)


@dataclass(frozen=True, slots=True)
class Side:
    """What a side wrote, the seconds that it took, and the share of the cores that other processes took meanwhile."""

    captions: list[Captioned]
    seconds: float
    others: float = 0.0

    @property
    def tokens(self) -> int:
        """All tokens of its texts. Those of other beams, and of a search that goes on after its best, come on top."""
        return sum(caption.tokens for caption in self.captions)

    def __add__(self, more: "Side") -> "Side":
        return Side(self.captions + more.captions, self.seconds + more.seconds, max(self.others, more.others))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The sides of a number of beams. `exact`: ours in float32. `fast`: ours in bfloat16, where that is multiplied."""

    beams: int
    theirs: Side
    exact: Side
    fast: Side | None

    @property
    def different(self) -> list[int]:
        """Indices of the pictures whose captions in float32 are not the same."""
        pairs = zip(self.theirs.captions, self.exact.captions, strict=True)
        return [index for index, (theirs, ours) in enumerate(pairs) if theirs != ours]

    def times_as_fast(self, ours: Side) -> float:
        """Of `ours` to theirs in float32."""
        return self.theirs.seconds / ours.seconds

    def met(self, exactly: float, fast: float = FAST) -> bool:
        """Whether the captions are the same, and float32 is `exactly` times as fast, bfloat16 `fast` times."""
        quick = self.fast is None or self.times_as_fast(self.fast) >= fast
        return not self.different and self.times_as_fast(self.exact) >= exactly and quick


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--beams", type=int, default=3, help="their default is 1, which is no search")
    parser.add_argument("--window", type=int, default=32, help="captions that ours is asked for at once")
    parser.add_argument("--to", type=Path, default=Path("build/bulk/kohya.json"), help="the figures as JSON")


def run(options: argparse.Namespace) -> bool:
    """Measures and prints; whether the figures asked for are met."""
    machine = describe("cpu", PACKAGES)
    folder = checkpoint(CACHE, "base", "captioning")
    pictures = Pictures(SEED).take(options.pictures)
    found = compare(folder, pictures, options.beams, options.window, sixteen="avx512_bf16" in machine["flags"])
    asked = EXACT if "avx512f" in machine["flags"] else EXACT_AVX2
    figures = {
        "machine": machine,
        "pictures": options.pictures,
        "window": options.window,
        "met": found.met(asked),
        **asdict(found),
    }
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(lines(found, asked)))
    print(f"\n{options.pictures} pictures, {options.beams} beams; met: {found.met(asked)}; figures: {options.to}")
    return found.met(asked)


def compare(folder: Path, pictures: Sequence[bytes], beams: int, window: int, sixteen: bool) -> Comparison:
    """The sides take turns, each with half of the pictures at a time, in either order."""
    makers: dict[str, tuple[Any, ...]] = {
        "theirs": (Theirs, folder, "float32"),
        "exact": (_ours, folder, "float32", window),
    }
    if sixteen:
        makers["fast"] = (_ours, folder, "bfloat16", window)
    half = len(pictures) // 2
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Apart(*made)) for name, made in makers.items()}
        for side in sides.values():
            side.call("captions", Pictures(SEED + 1).take(WARM), beams)
        first = {name: _timed(side, pictures[:half], beams) for name, side in sides.items()}
        second = {name: _timed(side, pictures[half:], beams) for name, side in reversed(sides.items())}
    both = {name: first[name] + second[name] for name in sides}
    return Comparison(beams, both["theirs"], both["exact"], both.get("fast"))


def _timed(side: Apart, pictures: Sequence[bytes], beams: int) -> Side:
    watch = Watch()
    captions = side.call("captions", pictures, beams)
    watch.stop()
    return Side(captions, watch.seconds, watch.others)


def lines(found: Comparison, asked: float) -> Iterator[str]:
    """A table in Markdown, and each caption that is not the same."""
    heads = ["captions", "a caption, ms", "tokens", "times as fast", "asked", "the same captions", "other processes"]
    sides = {"theirs, float32": (found.theirs, ""), "ours, float32": (found.exact, f"{asked:g}")}
    if found.fast:
        sides["ours, bfloat16"] = found.fast, f"{FAST:g}"
    yield from table(heads, [_line(name, found, side, bound) for name, (side, bound) in sides.items()], "lrrrrrr")
    for index in found.different:
        yield f"picture {index}: theirs {found.theirs.captions[index]}, ours {found.exact.captions[index]}"


def _line(name: str, found: Comparison, side: Side, asked: str) -> list[str]:
    count = len(side.captions)
    same = sum(ours == theirs for ours, theirs in zip(side.captions, found.theirs.captions, strict=True))
    ratio = f"{found.times_as_fast(side):.2f}"
    cells = [f"{1000 * side.seconds / count:,.0f}", f"{side.tokens:,}", ratio, asked, f"{same} of {count}"]
    return [name, *cells, f"{side.others:.0%} of the cores"]
