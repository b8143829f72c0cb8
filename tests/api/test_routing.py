"""What a request passes on its way to its endpoint."""

import inspect

from fastapi.routing import APIRoute

from blip_serve.api import health, model_routes
from blip_serve.api.app import ENDPOINTS
from blip_serve.api.routing import router_of

ROUTERS = (*map(router_of, ENDPOINTS.values()), model_routes.router, health.router)


def test_no_request_waits_for_a_thread_or_a_dependency_to_be_routed() -> None:
    routes = [route.dependant for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > len(ROUTERS)
    assert all(inspect.iscoroutinefunction(route.call) for route in routes)
    assert not [route.dependencies for route in routes if route.dependencies]
