"""BLIP-VQA, the score of T2I-CompBench for pictures that were made of a prompt: is each of its noun phrases there?

Source: Karine-Huang/T2I-CompBench:BLIPvqa_eval/BLIP_vqa.py and models/blip_vqa.py:vqa_prob. Each noun phrase is asked
for as a question, such as `a red book?`. The answer's first token is `yes` with a probability of the softmax over the
vocabulary, or `no`; a question's score is yes / (yes + no), a picture's the product of those of its questions, and the
score of all the mean. The question begins with `[ENC]` and is cleaned: the protocol `paper`. A picture is encoded once
for all its questions; there it is once for each.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import fmean

from blip_serve.domain import Caption, ScoringProtocol, Task
from blip_serve.durable import write_file
from blip_serve.jobs.evaluation.answering import Answering, Question
from blip_serve.jobs.evaluation.evaluation import Evaluation, Measured
from blip_serve.jobs.evaluation.published import Published
from blip_serve.jobs.evaluation.t2i_files import T2iQuestions
from blip_serve.tasks.decide import DecideRequest
from blip_serve.tasks.generate import AnswerRequest
from blip_serve.tasks.questions import PredicateAnswer, PredicateQuestion

FIELD = "questions"


@dataclass(frozen=True, slots=True)
class T2i(Evaluation):
    """BLIP-VQA of pictures. `results`: a file for the scores as T2I-CompBench writes them (`vqa_result.json`)."""

    questions: T2iQuestions
    data: str
    results: Path | None = None
    name: str = "t2i"

    @property
    def needs(self) -> tuple[Task, ...]:
        """A model that answers questions: one that matches would read them as captions."""
        return AnswerRequest.needs

    @property
    def described(self) -> Mapping[str, str]:
        """The pictures and their questions."""
        return {"data": self.questions.asked.digest}

    @property
    def published(self) -> Sequence[Published]:
        """None: the figures are of models that make pictures."""
        return ()

    def notes(self, protocol: ScoringProtocol) -> Sequence[str]:
        """What tells the score from the official one."""
        found = [
            "BLIP-VQA: T2I-CompBench's (BLIPvqa_eval), times 100. Its own model is blip-vqa-capfilt-large at 480 "
            "pixels; the hub's checkpoints read 384. It rounds each probability to four places, as --results does."
        ]
        return [*found, "By `hf` the model reads other tokens than there."] if protocol == "hf" else found

    async def measure(self, answering: Answering) -> Measured:
        """Asks for a picture's phrases together, and multiplies. Raises `ServiceError` and `OSError`."""
        asked = self.questions.asked
        questions = (
            Question(str(place), partial(self._ask, answering, place), len(entry.texts))
            for place, entry in enumerate(asked.entries)
        )
        answers = answering.answers(FIELD, questions, len(asked.texts))
        likely: list[list[float]] = [json.loads(answer) async for answer in answers]
        of_numbers = {
            number: [] if place is None else likely[place] for number, place in self.questions.numbers.items()
        }
        rounded = {number: f"{_rounded(of):.4f}" for number, of in of_numbers.items()}
        if self.results:
            results = [{"question_id": number, "answer": score} for number, score in rounded.items()]
            await asyncio.to_thread(write_file, self.results, json.dumps(results).encode())
        score = fmean(map(prod, of_numbers.values()))
        counts = {"pictures": len(of_numbers), FIELD: len(asked.texts)}
        pictures = [{"question_id": number, "score": prod(of), "yes": of} for number, of in of_numbers.items()]
        details = {"score": score, "score rounded": fmean(map(float, rounded.values())), "pictures": pictures}
        return Measured({"BLIP-VQA": 100 * score}, counts, details)

    async def _ask(self, answering: Answering, place: int) -> bytes:
        """How likely each phrase is in the picture, as JSON."""
        entry = self.questions.asked.entries[place]
        image = await answering.picture(entry.picture, entry.name)
        questions = tuple(PredicateQuestion(FIELD, Caption(text, text)) for text in entry.texts)
        answers = (await answering.run(DecideRequest(image, questions))).answers
        return json.dumps([answer.probability for answer in answers if isinstance(answer, PredicateAnswer)]).encode()


def _rounded(likely: Sequence[float]) -> float:
    """The product as it is computed there: each probability has passed through a file, with four places."""
    return prod(float(f"{each:.4f}") for each in likely)
