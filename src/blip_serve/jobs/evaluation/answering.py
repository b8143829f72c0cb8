"""Gets the questions of an evaluation answered: by what was kept, else by the model. Knows no metric, no terminal."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import TypeVar

from blip_serve.images.reference import BytesImage
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.operators.operator import Ask
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.pictures import Pictures
from blip_serve.jobs.rows import Picture
from blip_serve.jobs.window import in_order
from blip_serve.tasks.request import Request

ResultT = TypeVar("ResultT")

AT_ONCE = 16
"""Questions under way at once."""
Count = Callable[[int], object]
"""Told how many of what is counted are done."""
Show = Callable[[str, int], AbstractContextManager[Count]]
"""Shows the progress of a stage: what is counted, and how many there are."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `key`: its name in the evaluation; says all that the answer depends on, but for what the whole
    evaluation agrees on (`Evaluation.described`). `ask`: asks the model. `counts`: see `Answering.answers`."""

    key: str
    ask: Callable[[], Awaitable[bytes]]
    counts: int = 1


class Answering:
    """Asks by `ask`, with the model and the protocol of `serving`, and keeps what is answered in `answers`."""

    def __init__(
        self, ask: Ask, pictures: Pictures, serving: Serving, answers: Answers, show: Show, at_once: int = AT_ONCE
    ) -> None:
        self._ask = ask
        self._pictures = pictures
        self._serving = serving
        self._answers = answers
        self._show = show
        self._at_once = at_once
        self._keeping = asyncio.Lock()

    async def run(self, request: Request[ResultT]) -> ResultT:
        """The result of a request. Raises `ServiceError`."""
        return await self._ask(self._serving.of(request))

    async def picture(self, picture: Picture, param: str) -> BytesImage:
        """A picture's bytes, which errors call `param`. Raises `InvalidInput`."""
        loaded = await self._pictures.load(picture)
        return BytesImage(loaded.data, param)

    async def answers(self, stage: str, questions: Iterable[Question], total: int) -> AsyncGenerator[bytes, None]:
        """The answers in order, with many questions under way at once.

        `stage`: what is counted, such as `pictures`; `total`: how many `Question.counts` are together. Close it to end
        it early. Raises the first error of a question.
        """
        with self._show(stage, total) as count:

            async def answered(question: Question) -> bytes:
                answer = self._answers.find(question.key)
                if answer is None:
                    answer = await question.ask()
                    async with self._keeping:
                        await asyncio.to_thread(self._answers.keep, question.key, answer)
                count(question.counts)
                return answer

            async with aclosing(in_order(iter(questions), answered, self._at_once)) as found:
                async for answer in found:
                    yield answer
