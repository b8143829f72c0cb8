"""What a checkpoint is asked in a comparison, and what it and transformers answer: numbers, and tokens.

Pictures are those that ship in the package.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Protocol, get_args

from blip_serve.architectures import ANSWERING, CAPTIONING, RETRIEVAL, Architecture
from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import (
    AnyModel,
    Caption,
    GenerateItem,
    GenerationOptions,
    ImageBytes,
    Item,
    MatchItem,
    RankItem,
    ScoringProtocol,
)
from blip_serve.models.reference import AnswerReference, CaptionReference, MatchReference
from blip_serve.models.running import generated_ids, run, run_prepared

PICTURES = EMBEDDED / "pictures"
PROTOCOLS: tuple[ScoringProtocol, ...] = get_args(ScoringProtocol)
PROMPTS = ("", "a picture of")
QUESTIONS = ("what colour is the shape?", "how many shapes are there?")
BEAMS = (1, 3)
"""Greedy, and the beams of BLIP's own evaluation (configs/caption_coco.yaml)."""
MAX_TOKENS = 20

Numbers = dict[str, tuple[float, ...]]
"""Of one item: what a row compares, by the row's name."""


def shipped() -> dict[str, ImageBytes]:
    """The pictures by name."""
    return {file.name: picture(file) for file in sorted(PICTURES.glob("*.png"))}


def picture(file: Path) -> ImageBytes:
    """A picture's bytes. Raises `OSError`."""
    data = file.read_bytes()
    return ImageBytes(data, sha256(data).hexdigest(), file.name)


def captions() -> dict[str, tuple[str, str]]:
    """Of each picture a caption that is right, and one that is wrong."""
    listed = json.loads((PICTURES / "pictures.json").read_text(encoding="utf-8"))
    return {name: (each["caption"], each["wrong"]) for name, each in listed.items()}


@dataclass(frozen=True, slots=True)
class Asked:
    """One item, and the row that its answer belongs to."""

    row: str
    item: Item


class Trial(Protocol):
    """How checkpoints of an architecture are asked and compared."""

    @property
    def asked(self) -> Sequence[Asked]:
        """The items, in order."""
        ...

    def reference(self, folder: Path) -> list[Any]:
        """What transformers answers, one item at a time, in float32."""
        ...

    def answers(self, model: AnyModel, together: bool) -> list[Any]:
        """What our model answers: all items in the same steps, or each by itself."""
        ...


class Matching:
    """Every picture with a right and a wrong caption. An answer: `itm`, the logits of both; `cosine`."""

    def __init__(self) -> None:
        self.asked: Sequence[Asked] = [
            Asked(protocol, MatchItem(image, (Caption(right, "right"), Caption(wrong, "wrong")), protocol))
            for (_, image), (right, wrong) in zip(shipped().items(), _in_order(captions()), strict=True)
            for protocol in PROTOCOLS  # the inner one, since the reference keeps its last image
        ]

    def reference(self, folder: Path) -> list[Numbers]:
        """See `Trial`."""
        reference = MatchReference(folder)
        found = []
        for each in self.asked:
            assert isinstance(each.item, MatchItem)
            scores = [
                reference.score(each.item.image.data, caption.text, each.item.protocol)
                for caption in each.item.captions
            ]
            logits = tuple(logit for both, _ in scores for logit in both)
            found.append({"itm": logits, "cosine": tuple(cosine for _, cosine in scores)})
        return found

    def answers(self, model: AnyModel, together: bool) -> list[Numbers]:
        """See `Trial`."""
        items = [each.item for each in self.asked]
        found = run(model, *items) if together else [run(model, item)[0] for item in items]
        return [
            {
                "itm": tuple(logit for score in scores for logit in score.itm_logits),
                "cosine": tuple(score.cosine_score for score in scores),
            }
            for scores in found
        ]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was written: its tokens behind the prompt, and all of it."""

    ids: tuple[int, ...]
    text: str


class Writing:
    """Texts from every picture, greedily and by beams. An answer is a `Text`."""

    def __init__(self, asked: Sequence[Asked], open_reference: Callable[[Path], Any]) -> None:
        self.asked = asked
        self._open = open_reference

    def reference(self, folder: Path) -> list[Text]:
        """See `Trial`."""
        reference = self._open(folder)
        return [_referred(reference, each.item) for each in self.asked if isinstance(each.item, GenerateItem)]

    def answers(self, model: AnyModel, together: bool) -> list[Text]:
        """See `Trial`. Items run in as many groups as the model has slots for."""
        prepared = [model.prepare(each.item) for each in self.asked]
        size = AT_ONCE if together else 1
        found = [
            result[0]
            for start in range(0, len(prepared), size)
            for result in run_prepared(model, prepared[start : start + size])
        ]
        return [Text(tuple(generated_ids(each)), result.text) for each, result in zip(prepared, found, strict=True)]

    def likelihoods(self, model: AnyModel, texts: Sequence[str]) -> list[float]:
        """The log-likelihood a token of each item's text, for a model in any number type."""
        found = []
        for each, text in zip(self.asked, texts, strict=True):
            assert isinstance(each.item, GenerateItem)
            item = RankItem(each.item.image, each.item.text, (Caption(text, "text"),), each.item.protocol)
            prepared = model.prepare(item)
            [[likelihood]] = run_prepared(model, [prepared])
            found.append(likelihood / max(1, prepared.text_tokens[-1]))
        return found


AT_ONCE = 16
"""Items in a group: with three beams each they take 48 of at least 64 slots."""


def _referred(reference: Any, item: GenerateItem) -> Text:
    options = {"do_sample": False, "max_new_tokens": item.options.max_tokens, "num_beams": item.options.num_beams}
    protocol = {} if isinstance(reference, CaptionReference) else {"protocol": item.protocol}
    [ids], [text] = reference.generate(item.image.data, item.text.text, **protocol, **options)
    return Text(tuple(ids), text)


def trial(architecture: Architecture) -> Trial:
    """The trial of an architecture."""
    return TRIALS[architecture.name]()


def _captioning() -> Writing:
    asked = [
        _writing(f"captions, {_way(beams)}", image, prompt, beams)
        for image, prompt, beams in product(shipped().values(), PROMPTS, BEAMS)
    ]
    return Writing(asked, CaptionReference)


def _answering() -> Writing:
    asked = [
        _writing(f"answers, {protocol}, {_way(beams)}", image, question, beams, protocol)
        for image, question, protocol, beams in product(shipped().values(), QUESTIONS, PROTOCOLS, BEAMS)
    ]
    return Writing(asked, AnswerReference)


TRIALS: dict[str, Callable[[], Trial]] = {
    RETRIEVAL.name: Matching,
    CAPTIONING.name: _captioning,
    ANSWERING.name: _answering,
}
"""By architecture."""


def _way(beams: int) -> str:
    return "greedy" if beams == 1 else f"{beams} beams"


def _writing(row: str, image: ImageBytes, text: str, beams: int, protocol: ScoringProtocol = "hf") -> Asked:
    options = GenerationOptions(max_tokens=MAX_TOKENS, num_beams=beams)
    return Asked(row, GenerateItem(image, Caption(text, "text"), 1, options, protocol))


def _in_order(listed: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return (listed[name] for name in sorted(listed))
