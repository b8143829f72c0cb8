"""Visual question answering on VQA's questions: answers that are generated, or the likeliest of a list.

As salesforce/BLIP:train_vqa.py evaluates. What differs: it chooses among the 128 answers whose first token is
likeliest (`k_test`), by its training loss, which is smoothed; here it is among all, by likelihood.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from blip_serve.domain import Caption, GenerationOptions, ScoringProtocol, Task
from blip_serve.durable import write_file
from blip_serve.errors import ConfigurationError
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.evaluation.answering import Answering, Question
from blip_serve.jobs.evaluation.asked import Asked
from blip_serve.jobs.evaluation.evaluation import Evaluation, Measured
from blip_serve.jobs.evaluation.limited import limited
from blip_serve.jobs.evaluation.published import VQA, Published
from blip_serve.jobs.evaluation.vqa_accuracy import accuracy
from blip_serve.jobs.evaluation.vqa_files import Annotation, AnswerList
from blip_serve.tasks.generate import CARD, AnswerRequest, Given

GENERATED: Mapping[ScoringProtocol, GenerationOptions] = {
    "paper": GenerationOptions(num_beams=3, max_tokens=9),
    "hf": CARD,
}
"""How answers are generated. `paper`: salesforce/BLIP:models/blip_vqa.py, whose `max_length` of 10 counts the
token that begins."""
RANKED_AT_ONCE = 1000
"""Answers in one request; as many as the default settings allow."""


@dataclass(frozen=True, slots=True)
class Vqa(Evaluation):
    """Answers questions. `answers`: the list to choose from; `None`: answers are generated, by `options`.

    `annotations`: what people answered; `None` for a split whose answers are not public. `results`: a file for the
    answers as VQA's evaluation server takes them.
    """

    asked: Asked
    data: str
    annotations: Mapping[int, Annotation] | None = None
    answers: AnswerList | None = None
    options: GenerationOptions = GENERATED["paper"]
    results: Path | None = None
    name: str = "vqa"

    @property
    def needs(self) -> tuple[Task, ...]:
        """A model that answers questions."""
        return AnswerRequest.needs

    @property
    def described(self) -> Mapping[str, Any]:
        """The questions, and how they are answered."""
        how = {"ranked": list(self.answers.answers)} if self.answers else {"generated": asdict(self.options)}
        return {"data": self.asked.digest, **how}

    @property
    def published(self) -> Sequence[Published]:
        """Those of VQA v2."""
        return VQA if self.annotations else ()

    def notes(self, protocol: ScoringProtocol) -> Sequence[str]:
        """What tells the figures from the published ones."""
        found = [
            "Accuracy: VQA's official one (GT-Vision-Lab/VQA:vqaEval.py), in per cent. The published figures are of "
            "VQA v2's test-dev and test-std, at 480 pixels, by ranking 3,128 answers; the hub's checkpoints read 384."
        ]
        if self.answers:
            found.append(
                "Ranked: all answers, by likelihood. The paper ranks the 128 whose first token is likeliest, by a "
                "smoothed loss."
            )
            if self.answers.alike:
                found.append(f"Answers of the list that a model reads like one before, left out: {self.answers.alike}.")
        if self.annotations is None:
            found.append("Without --annotations there is no accuracy: hand the results in where VQA is evaluated.")
        return found

    async def measure(self, answering: Answering) -> Measured:
        """Asks, a picture's questions together, and compares. Raises `ServiceError` and `OSError`."""
        asked = self.asked
        questions = (
            Question(str(place), partial(self._answers, answering, place), len(entry.texts))
            for place, entry in enumerate(asked.entries)
        )
        answers = answering.answers("questions", questions, len(asked.questions))
        found = [text async for answer in answers for text in json.loads(answer)]
        results = [{"question_id": number, "answer": text} for number, text in zip(asked.questions, found, strict=True)]
        if self.results:
            await asyncio.to_thread(write_file, self.results, json.dumps(results).encode())
        counts = {"pictures": len(asked.entries), "questions": len(results)}
        figures = self._figures(dict(zip(asked.questions, found, strict=True))) if self.annotations else {}
        return Measured(figures, counts, {"results": results})

    async def _answers(self, answering: Answering, place: int) -> bytes:
        """The answers to the questions about one picture, as JSON: one after the other, so that it is encoded once."""
        entry = self.asked.entries[place]
        image = await answering.picture(entry.picture, entry.name)
        ask = partial(self._chosen, answering, image) if self.answers else partial(self._generated, answering, image)
        return json.dumps([await ask(Caption(text, text)) for text in entry.texts]).encode()

    async def _generated(self, answering: Answering, image: BytesImage, question: Caption) -> str:
        return (await answering.run(AnswerRequest(image, question, self.options))).text

    async def _chosen(self, answering: Answering, image: BytesImage, question: Caption) -> str:
        """The likeliest of the list. Of more than fit a request, the likeliest of those of each."""
        assert self.answers is not None

        async def run(some: Sequence[str]) -> list[str]:
            given = tuple(Given(Caption(text, text), text) for text in some)
            return [(await answering.run(AnswerRequest(image, question, given=given))).text]

        left: Sequence[str] = self.answers.answers
        while len(left) > 1:
            parts = [left[start : start + RANKED_AT_ONCE] for start in range(0, len(left), RANKED_AT_ONCE)]
            best = [likeliest for part in parts for likeliest in await limited(run, part)]
            if len(best) == len(left):
                raise ConfigurationError("limits.max_captions: no two answers fit into one request")
            left = best
        return left[0]

    def _figures(self, answers: Mapping[int, str]) -> dict[str, float]:
        """The mean accuracy in per cent: of all, and by the kind of answer that people gave."""
        assert self.annotations is not None
        by_kind: dict[str, list[float]] = {}
        for number, answer in answers.items():
            known = self.annotations[number]
            by_kind.setdefault(known.answer_type, []).append(100 * accuracy(answer, known.answers))
        every = [right for of in by_kind.values() for right in of]
        return {"accuracy": fmean(every), **{kind: fmean(of) for kind, of in sorted(by_kind.items())}}
