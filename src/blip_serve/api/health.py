"""`/livez`, `/readyz`, `/health`, `/version` and `/metrics`, for operators."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from blip_serve import __version__
from blip_serve.tasks.service import Tasks


class Health(BaseModel):
    """Whether requests should be sent here, and if not, why."""

    status: Literal["ok", "unavailable"]
    reasons: list[str] = []


class Version(BaseModel):
    """Which version of the service this is."""

    version: str


router = APIRouter()
metrics_router = APIRouter()


@router.get("/livez", summary="Whether the process runs")
async def livez() -> Health:
    """Answers as long as the event loop turns."""
    return Health(status="ok")


@router.get("/health", summary="The same as /readyz, where vLLM's clients look", responses={503: {"model": Health}})
@router.get("/readyz", summary="Whether requests should be sent here", responses={503: {"model": Health}})
async def readyz(request: Request, response: Response) -> Health:
    """200 once every preloaded model has been warmed up, the device makes progress and no SIGTERM came; else 503."""
    tasks: Tasks = request.app.state.tasks
    reasons = [*(["draining"] if request.app.state.draining else []), *tasks.not_ready()]
    if reasons:
        response.status_code = 503
        return Health(status="unavailable", reasons=reasons)
    return Health(status="ok")


@router.get("/version", summary="The service's version")
async def version() -> Version:
    """As the package has it."""
    return Version(version=__version__)


@metrics_router.get("/metrics", summary="Metrics in Prometheus's text format", response_class=Response)
def metrics(request: Request) -> Response:
    """Names begin with `blip_serve_`; base units."""
    # On a thread: memory on the device is asked for, under a lock that a device that hangs may hold.
    return Response(request.app.state.telemetry.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
