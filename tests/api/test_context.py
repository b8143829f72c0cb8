"""What a request passes on its way to its route."""

import inspect

from fastapi.routing import APIRoute, APIRouter

from blip_serve.api import chat, decisions, embeddings, health, match, models, rerank, responses, score

ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router for module in (chat, decisions, embeddings, health, match, models, rerank, responses, score)
)


def test_no_request_waits_for_a_thread_or_a_dependency_to_be_routed() -> None:
    routes = [route.dependant for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > len(ROUTERS)
    assert all(inspect.iscoroutinefunction(route.call) for route in routes)
    assert not [route.dependencies for route in routes if route.dependencies]
