"""The service as a Python object: `BlipServe`, and `AsyncBlipServe` for asynchronous code. Needs no server.

The command line is built on it. It is also meant for notebooks and jobs.
"""

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeAlias, TypeVar, cast

from PIL import Image

from blip_serve.domain import (
    Caption,
    ExplainMethod,
    GenerationOptions,
    Layer,
    Per,
    ScoreName,
    ScoringProtocol,
    ServiceTier,
)
from blip_serve.errors import ServiceError, Unavailable
from blip_serve.images.decode import own_formats
from blip_serve.images.local import Picture, source_of
from blip_serve.images.reference import ImageSource
from blip_serve.loading import check_device
from blip_serve.notebook.album import Given, given
from blip_serve.notebook.html import decide_html, embed_html, explain_html, generate_html, match_html, rerank_html
from blip_serve.notebook.recent import Recent
from blip_serve.notebook.shown import shown
from blip_serve.settings import Settings
from blip_serve.tasks.decide import DecideRequest, DecideResult
from blip_serve.tasks.embed import EmbedRequest, EmbedResult
from blip_serve.tasks.explain import ExplainRequest, ExplainResult
from blip_serve.tasks.generate import CARD, AnswerRequest, CaptionRequest, GenerateResult
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.match import MatchRequest, MatchResult, OnError, Pairing
from blip_serve.tasks.questions import Question
from blip_serve.tasks.relevance import RankBy
from blip_serve.tasks.request import Request
from blip_serve.tasks.rerank import RerankRequest, RerankResult
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.telemetry import Telemetry
from blip_serve.threads import LoopThread

if TYPE_CHECKING:
    from blip_serve.tracing import Tracing

Text: TypeAlias = str | Caption
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DOWNLOAD_S = 3600.0
"""Seconds for a request, enough to download and load its model first."""


def local_settings(config: Path | None = None) -> Settings:
    """Settings for local use: models load at their first request, and only errors are logged.

    All installed image formats are read, because local files are trusted. Raises `ConfigurationError`.
    """
    settings = Settings.load(config)
    models = tuple(model.model_copy(update={"preload": False}) for model in settings.models)
    log = settings.log.model_copy(update={"level": "error"})
    times = {"request_timeout_s": DOWNLOAD_S, "background_timeout_s": DOWNLOAD_S}
    server = settings.server.model_copy(update=times)
    images = settings.images.model_copy(update={"formats": own_formats()})
    return settings.model_copy(update={"models": models, "log": log, "server": server, "images": images})


class AsyncBlipServe:
    """The service in this process, for asynchronous code. Use it in an `async with`.

    Several images or texts are a list or a tuple. Every method raises a `ServiceError` that names the argument at
    fault, or `OSError` for a file that cannot be read. `model` is an id or an alias. `None` means the configured
    default for the task. A notebook displays results as pictures, bars and heat.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """`settings`: by default `local_settings()`. Raises `ConfigurationError`."""
        self._settings = settings or local_settings()
        self._recent = Recent()
        self._stack = AsyncExitStack()
        self._tasks: Tasks | None = None
        self._tracing: Tracing | None = None

    async def __aenter__(self) -> Self:
        check_device(self._settings)
        telemetry = Telemetry(self._settings.log)
        self._tracing = telemetry.tracing
        self._stack.push_async_callback(asyncio.to_thread, telemetry.close)
        service = open_service(self._settings, telemetry)
        self._tasks = await self._stack.enter_async_context(service)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the service. Requests in flight fail."""
        self._tasks = None
        await self._stack.aclose()

    @property
    def tasks(self) -> Tasks:
        """The running service's tasks."""
        if self._tasks is None:
            raise RuntimeError("this BlipServe is not open")
        return self._tasks

    async def match(
        self,
        images: Picture | Sequence[Picture],
        captions: Text | Sequence[Text],
        *,
        pairing: Pairing = "cross",
        scores: Sequence[ScoreName] = ("itm", "cosine"),
        on_error: OnError = "request",
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> MatchResult:
        """Scores every image with every caption (`cross`), or each image with the caption at its index (`zip`)."""
        pictures, texts = _several(images), _texts(captions, "captions")
        sources = await _sources(pictures, "images")
        request = MatchRequest(sources, texts, pairing, frozenset(scores), on_error)
        result = await self.run(replace(request, model=model, protocol=protocol, service_tier=service_tier))
        return shown(result, partial(match_html, self._kept(pictures, sources), texts))

    async def caption(
        self,
        image: Picture,
        beginning: Text = "",
        *,
        options: GenerationOptions | None = None,
        n: int = 1,
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> GenerateResult:
        """Writes `n` captions of an image. They start with `beginning`."""
        [source] = await _sources([image], "image")
        request = CaptionRequest(source, _text(beginning, "beginning"), options or CARD, n)
        result = await self.run(replace(request, model=model, protocol=protocol, service_tier=service_tier))
        return shown(result, partial(generate_html, self._kept([image], [source]), request.text))

    async def answer(
        self,
        image: Picture,
        question: Text,
        *,
        options: GenerationOptions | None = None,
        n: int = 1,
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> GenerateResult:
        """Writes `n` answers to a question about an image."""
        [source] = await _sources([image], "image")
        request = AnswerRequest(source, _text(question, "question"), options or CARD, n)
        result = await self.run(replace(request, model=model, protocol=protocol, service_tier=service_tier))
        return shown(result, partial(generate_html, self._kept([image], [source]), request.text))

    async def embed(
        self,
        images: Picture | Sequence[Picture] = (),
        texts: Text | Sequence[Text] = (),
        *,
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> EmbedResult:
        """Unit vectors of the images, then of the texts, in one space. Their dot products are cosines."""
        pictures, captions = _several(images), _texts(texts, "texts")
        inputs: tuple[Input, ...] = (*await _sources(pictures, "images"), *captions)
        result = await self.run(EmbedRequest(inputs, model=model, protocol=protocol, service_tier=service_tier))
        return shown(result, partial(embed_html, self._kept([*pictures, *captions], inputs)))

    async def rerank(
        self,
        query: Text | Path | bytes | Image.Image | ImageSource,
        documents: Sequence[Picture | Caption],
        *,
        rank_by: RankBy = "itm",
        top_n: int | None = None,
        shortlist: int | None = None,
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> RerankResult:
        """Orders documents by their relevance to a query, the best first.

        A query that is a string is a text, and the documents are images. Any other query is an image, and the
        documents are texts.
        """
        if not isinstance(documents, list | tuple):
            raise TypeError(f"documents: a list is expected, not {type(documents).__name__}")
        if isinstance(query, str | Caption):
            asked: Input = _text(query, "query")
            found = await _inputs(documents, "documents", strings_are="pictures")
        else:
            [asked] = await _sources([query], "query")
            found = await _inputs(documents, "documents", strings_are="texts")
        request = RerankRequest(asked, found, rank_by, top_n, shortlist)
        result = await self.run(replace(request, model=model, protocol=protocol, service_tier=service_tier))
        return shown(result, partial(rerank_html, self._kept([query, *documents], [asked, *found])))

    async def decide(
        self,
        image: Picture,
        questions: Question | Sequence[Question],
        *,
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> DecideResult:
        """Answers questions about an image with probabilities; `predicate`, `choice` and `scale` make questions."""
        [source] = await _sources([image], "image")
        asked = tuple(questions) if isinstance(questions, Sequence) else (questions,)
        request = DecideRequest(source, asked, model=model, protocol=protocol, service_tier=service_tier)
        result = await self.run(request)
        return shown(result, partial(decide_html, self._kept([image], [source]), asked))

    async def explain(
        self,
        images: Picture | Sequence[Picture],
        captions: Text | Sequence[Text],
        *,
        question: Text | None = None,
        method: ExplainMethod | None = None,
        layer: Layer | None = None,
        per: Per = "word",
        model: str | None = None,
        protocol: ScoringProtocol | None = None,
        service_tier: ServiceTier = "auto",
    ) -> ExplainResult:
        """Where every image shows the words of every caption. `method`, `layer`: by default the model card's.

        With a model that answers questions, `captions` are answers to `question`.
        """
        pictures, texts = _several(images), _texts(captions, "captions")
        asked = None if question is None else _text(question, "question")
        sources = await _sources(pictures, "images")
        request = ExplainRequest(sources, texts, asked, method, layer, per)
        result = await self.run(replace(request, model=model, protocol=protocol, service_tier=service_tier))
        return shown(result, partial(explain_html, self._kept(pictures, sources), texts, asked))

    async def run(self, request: Request[R]) -> R:
        """Runs the request of any task and returns its result. The methods above build such requests."""
        try:
            if self._tracing is None:
                return await self.tasks.run(request)
            with self._tracing.work(request.task_name):
                return await self.tasks.run(request)
        except Unavailable as error:
            raise self._with_reason(error) from None

    def _kept(self, inputs: Sequence[object], read: Sequence[Input]) -> Given:
        """The inputs of a request, for notebooks to show."""
        return given(self._settings.images, self._recent, inputs, read)

    def _with_reason(self, error: Unavailable) -> ServiceError:
        """The error with the reason why a model failed to load. Here the user has no models page to look it up."""
        failed = [f"The model '{m.id}' could not be loaded: {m.error}." for m in self.tasks.models() if m.error]
        return Unavailable(" ".join(failed), code=error.code) if failed else error


def _waiting(
    method: Callable[Concatenate[AsyncBlipServe, P], Coroutine[Any, Any, R]],
) -> "Callable[Concatenate[BlipServe, P], R]":
    """The synchronous version of a method of `AsyncBlipServe`: calls it and waits for the result."""

    @wraps(method)
    def call(self: "BlipServe", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._loop.wait_for(method(self._service, *args, **kwargs))

    return call


class BlipServe:
    """The service in this process, for synchronous code such as scripts and notebooks.

    It runs on its own thread. So it works inside a running event loop too, and several threads may call it.
    It has the methods of `AsyncBlipServe`. Call `close`, use it in a `with`, or let it end with the process.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """`settings`: by default `local_settings()`. Raises `ConfigurationError`."""
        self._service = AsyncBlipServe(settings)
        self._loop = LoopThread("BlipServe")
        self._end = weakref.finalize(self, _end, self._loop, self._service)
        self._end.atexit = False  # at exit nothing has to be closed: all threads are daemons
        self._loop.wait_for(self._service.__aenter__())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the service. Requests in flight fail."""
        self._end()

    match = _waiting(AsyncBlipServe.match)
    caption = _waiting(AsyncBlipServe.caption)
    answer = _waiting(AsyncBlipServe.answer)
    embed = _waiting(AsyncBlipServe.embed)
    rerank = _waiting(AsyncBlipServe.rerank)
    decide = _waiting(AsyncBlipServe.decide)
    explain = _waiting(AsyncBlipServe.explain)


def _end(loop: LoopThread, service: AsyncBlipServe) -> None:
    if not loop.forked:
        loop.wait_for(service.close())
        loop.end()


async def _sources(pictures: Sequence[Picture], name: str) -> tuple[ImageSource, ...]:
    """The image sources of pictures. Reads files and encodes Pillow images on another thread."""
    if all(isinstance(picture, ImageSource) for picture in pictures):
        return tuple(picture for picture in pictures if isinstance(picture, ImageSource))
    return await asyncio.to_thread(
        lambda: tuple(source_of(picture, _param(name, i, pictures)) for i, picture in enumerate(pictures))
    )


async def _inputs(
    given: Sequence[Picture | Caption], name: str, strings_are: Literal["pictures", "texts"]
) -> tuple[Input, ...]:
    """Pictures and captions as inputs. The task refuses a mixture that makes no pairs."""
    texts = {
        i: _text(each, _param(name, i, given))
        for i, each in enumerate(given)
        if isinstance(each, Caption) or (isinstance(each, str) and strings_are == "texts")
    }
    pictures = [each for i, each in enumerate(given) if i not in texts and not isinstance(each, Caption)]
    sources = iter(await _sources(pictures, name))
    return tuple(texts[i] if i in texts else next(sources) for i in range(len(given)))


def _several(pictures: Picture | Sequence[Picture]) -> Sequence[Picture]:
    return pictures if isinstance(pictures, list | tuple) else [cast(Picture, pictures)]


def _texts(texts: Text | Sequence[Text], name: str) -> tuple[Caption, ...]:
    several = texts if isinstance(texts, list | tuple) else [cast(Text, texts)]
    return tuple(_text(text, _param(name, i, several)) for i, text in enumerate(several))


def _text(text: Text, param: str) -> Caption:
    """Raises `TypeError` for what is no text."""
    if isinstance(text, Caption):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{param}: a string is expected, not {type(text).__name__}")
    return Caption(text, param)


def _param(name: str, index: int, among: Sequence[object]) -> str:
    return f"{name}[{index}]" if len(among) > 1 else name
