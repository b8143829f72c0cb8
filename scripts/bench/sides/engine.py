"""(d) without HTTP: the service's tasks in this process, on an event loop of their own."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from blip_serve.domain import Caption, GenerationOptions, ScoreName
from blip_serve.images.reference import BytesImage
from blip_serve.settings import Settings
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.generate import GenerateRequest, GenerateResult
from blip_serve.tasks.match import MatchRequest, Pairing
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.telemetry import Telemetry

T = TypeVar("T")
POLL_S = 0.01
ITM: frozenset[ScoreName] = frozenset({"itm"})


class InProcess:
    """The tasks, asked from a thread that is not the loop's."""

    def __init__(self, tasks: Tasks, loop: asyncio.AbstractEventLoop) -> None:
        self.tasks = tasks
        self._loop = loop

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine of the tasks'."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    def match(self, pictures: Sequence[bytes], captions: Sequence[str], pairing: Pairing = "cross") -> list[float]:
        """ITM probabilities, by picture, then by caption."""
        texts = tuple(Caption(text, "captions") for text in captions)
        result = self.run(self.tasks.run(MatchRequest(_images(pictures), texts, pairing, ITM)))
        return [pair.score.itm_score for pair in result.pairs if pair.score.itm_score is not None]

    def embed(self, inputs: Sequence[bytes | str]) -> list[list[float]]:
        """Unit vectors of pictures and texts."""
        sources = tuple(
            Caption(each, "input") if isinstance(each, str) else BytesImage(each, "input") for each in inputs
        )
        return [list(vector) for vector in self.run(self.tasks.run(EmbedRequest(sources))).vectors]

    def caption(self, picture: bytes, options: GenerationOptions) -> GenerateResult:
        """A caption of a picture."""
        asked = GenerateRequest(BytesImage(picture, "image"), Caption("", "text"), options)
        return self.run(self.tasks.run(asked))


@contextmanager
def in_process(settings: Settings) -> Iterator[InProcess]:
    """The service of `settings` while inside, its models loaded."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    service = open_service(settings, Telemetry(settings.log))
    try:
        inside = InProcess(asyncio.run_coroutine_threadsafe(service.__aenter__(), loop).result(), loop)
        try:
            while inside.tasks.not_ready():
                if any(status.state == "failed" for status in inside.tasks.models()):
                    raise RuntimeError(f"The model could not be loaded: {inside.tasks.models()}")
                time.sleep(POLL_S)
            yield inside
        finally:
            asyncio.run_coroutine_threadsafe(service.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _images(pictures: Sequence[bytes]) -> tuple[BytesImage, ...]:
    return tuple(BytesImage(picture, "images") for picture in pictures)
