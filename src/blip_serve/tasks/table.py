"""The table of tasks: which functions run a request, by the request's type. A new task is a new file and a new row."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from blip_serve.domain import Caller
from blip_serve.tasks.decide import DecideRequest, decide
from blip_serve.tasks.embed import EmbedRequest, embed
from blip_serve.tasks.explain import ExplainRequest, explain
from blip_serve.tasks.generate import AnswerRequest, CaptionRequest, GenerateRequest, generate, stream
from blip_serve.tasks.match import MatchRequest, match
from blip_serve.tasks.request import Request
from blip_serve.tasks.rerank import RerankRequest, rerank
from blip_serve.tasks.score import ScoreRequest, score
from blip_serve.tasks.session import Sessions


@dataclass(frozen=True, slots=True)
class Row:
    """A task. `run` returns the request's result. `stream` yields it piece by piece, if the task can."""

    run: Callable[[Any, Caller, Sessions], Awaitable[Any]]
    stream: Callable[[Any, Caller, Sessions], AsyncGenerator[Any, None]] | None = None


TASKS: Mapping[type[Request[Any]], Row] = {
    MatchRequest: Row(match),
    ScoreRequest: Row(score),
    RerankRequest: Row(rerank),
    EmbedRequest: Row(embed),
    GenerateRequest: Row(generate, stream),
    CaptionRequest: Row(generate, stream),
    AnswerRequest: Row(generate, stream),
    DecideRequest: Row(decide),
    ExplainRequest: Row(explain),
}
