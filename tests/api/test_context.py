"""What routes are given, and from where."""

import inspect
from collections.abc import Iterator

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute, APIRouter

from blip_serve.api import chat, decisions, embeddings, health, match, models, rerank, responses, score
from blip_serve.api.auth import SCHEME

ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router for module in (chat, decisions, embeddings, health, match, models, rerank, responses, score)
)


def test_no_request_waits_for_a_thread_to_be_routed() -> None:
    routes = [route.dependant for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    calls = [call for dependant in (*routes, get_dependant(path="", call=SCHEME)) for call in _calls(dependant)]
    assert len(calls) > len(routes)
    assert not [call for call in calls if not _on_the_loop(call)]


def _calls(dependant: Dependant) -> Iterator[object]:
    if dependant.call is not None:
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def _on_the_loop(call: object) -> bool:
    """An object that is called, as FastAPI's schemes are, is asked for its type's method."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)
