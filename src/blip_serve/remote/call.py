"""A call of a server: how a task's request becomes a body, and an answer the task's result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from blip_serve.remote.answers import Answer
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.request import Request, Served

RequestT = TypeVar("RequestT", bound=Request[Any])
AnswerT = TypeVar("AnswerT", bound=Answer)
ResultT = TypeVar("ResultT")
Body = dict[str, Any]


class WrongShape(ValueError):
    """The answer does not belong to the request: too few scores, another kind of answer."""


@dataclass(frozen=True, slots=True)
class Call(Generic[RequestT, AnswerT, ResultT]):
    """One endpoint.

    `body`: without the fields that all requests share. `rename`: what the task's request calls a field of the body.
    `images`: those of the request, and perhaps texts.
    `answer`: its type. `result`: raises `WrongShape`.
    """

    path: str
    body: Callable[[RequestT], Body]
    rename: Callable[[RequestT, str], str]
    images: Callable[[RequestT], Sequence[Input]]
    answer: type[AnswerT]
    result: Callable[[RequestT, AnswerT, Served], ResultT]


AnyCall = Call[Any, Any, Any]


def shared(request: Request[Any]) -> Body:
    """The fields that all requests share. What is `None` is left out."""
    fields = {"model": request.model, "protocol": request.protocol, "service_tier": request.service_tier}
    return {name: value for name, value in fields.items() if value is not None}


def renamed(param: str, names: Mapping[str, str]) -> str:
    """What `names` says of the longest beginning of a path that it knows; the path itself if there is none.

    `images[1]` stands for `images[1].url` as well, and not for `images[10]`.
    """
    known = [name for name in names if param == name or param.startswith((f"{name}.", f"{name}["))]
    return names[max(known, key=len)] if known else param
