"""Captions of pictures as COCO's evaluation measures them, generated as salesforce/BLIP:train_caption.py does."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from blip_serve.domain import Caption, GenerationOptions, ScoringProtocol, Task
from blip_serve.durable import write_file
from blip_serve.jobs.evaluation.answering import Answering, Question
from blip_serve.jobs.evaluation.caption_metrics import CaptionScorer
from blip_serve.jobs.evaluation.evaluation import Evaluation, Measured
from blip_serve.jobs.evaluation.gallery import Entry, Gallery
from blip_serve.jobs.evaluation.published import COCO_CAPTIONS, COCO_PICTURES, Published, of_other_pictures
from blip_serve.tasks.generate import CARD, CaptionRequest


@dataclass(frozen=True, slots=True)
class Style:
    """How captions are generated. `prompt`: what each begins with, which is taken off."""

    prompt: str
    options: GenerationOptions


STYLES: Mapping[ScoringProtocol, Style] = {
    "paper": Style("a picture of ", GenerationOptions(num_beams=3, max_tokens=16, min_tokens=1)),
    "hf": Style("", CARD),
}
"""`paper`: salesforce/BLIP:configs/caption_coco.yaml. Its `max_length` of 20 and `min_length` of 5 count the token that
begins and the prompt's three. `hf`: the model cards' code, greedy, without a prompt."""


@dataclass(frozen=True, slots=True)
class Captioning(Evaluation):
    """Captions pictures. `scorer`: what measures them. `results`: a file for the captions in COCO's format.

    `known`: whether the pictures are those of the published figures.
    """

    gallery: Gallery
    data: str
    scorer: CaptionScorer
    style: Style = STYLES["paper"]
    known: bool = False
    results: Path | None = None
    name: str = "caption"

    @property
    def needs(self) -> tuple[Task, ...]:
        """A model that captions."""
        return CaptionRequest.needs

    @property
    def described(self) -> Mapping[str, Any]:
        """The pictures, and how captions are generated."""
        return {"data": self.gallery.digest, "generated": asdict(self.style)}

    @property
    def published(self) -> Sequence[Published]:
        """Those of COCO."""
        return COCO_CAPTIONS if self.known else ()

    def notes(self, protocol: ScoringProtocol) -> Sequence[str]:
        """How the figures were made."""
        options = self.style.options
        search = f"{options.num_beams} beams" if options.num_beams > 1 else "greedily"
        prompt = f"after '{self.style.prompt.strip()}', which is taken off" if self.style.prompt else "without a prompt"
        return (
            f"Captions: {search}, {options.max_tokens} tokens at most, {prompt}. BLEU, ROUGE-L, CIDEr and METEOR: as "
            "COCO's evaluation measures them (pycocoevalcap), times 100.",
            *self.scorer.notes(),
            *(of_other_pictures(COCO_PICTURES, len(self.gallery.entries)) if self.known else ()),
        )

    async def measure(self, answering: Answering) -> Measured:
        """Captions each picture, and compares. Raises `ServiceError`, and `OSError`, also if Java fails."""
        entries = self.gallery.entries
        questions = (Question(str(place), partial(self._caption, answering, place)) for place in range(len(entries)))
        answers = answering.answers("pictures", questions, len(entries))
        captions = [answer.decode() async for answer in answers]
        results = [
            {"image_id": image_id(entry), "caption": text} for entry, text in zip(entries, captions, strict=True)
        ]
        if self.results:
            await asyncio.to_thread(write_file, self.results, json.dumps(results).encode())
        references = {str(place): entry.texts for place, entry in enumerate(entries)}
        found = {str(place): text for place, text in enumerate(captions)}
        figures = await asyncio.to_thread(self.scorer.figures, references, found)
        counts = {"pictures": len(entries), "reference captions": len(self.gallery.texts)}
        return Measured(figures, counts, {"results": results})

    async def _caption(self, answering: Answering, place: int) -> bytes:
        entry, style = self.gallery.entries[place], self.style
        image = await answering.picture(entry.picture, entry.name)
        request = CaptionRequest(image, Caption(style.prompt, "prompt"), style.options)
        return (await answering.run(request)).text[len(style.prompt) :].encode()


def image_id(entry: Entry) -> int | str:
    """COCO's number of a picture: the data set's, else the one that its file's name ends with, else the name."""
    if entry.number is not None:
        return entry.number
    digits = re.search(r"(\d+)\.\w+$", entry.name)
    return int(digits[1]) if digits else entry.name
