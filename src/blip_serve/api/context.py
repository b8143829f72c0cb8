"""What routes find beside the request: the tasks, as its caller may use them, and the settings of the running service.

Plain calls: FastAPI's dependencies for the same take a tenth of what the gateway does for a request.
"""

from dataclasses import replace

from fastapi import Request

from blip_serve.domain import ANYONE, Caller
from blip_serve.settings import Settings
from blip_serve.tasks.service import Tasks


def tasks_of(request: Request) -> Tasks:
    """The running service's tasks."""
    tasks: Tasks = request.app.state.tasks
    return tasks


def caller_of(request: Request) -> Caller:
    """Whoever calls: a key's caller, or anyone, told apart by address."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller or replace(ANYONE, address=request.client.host if request.client else "")


def check_model(request: Request, named: object) -> None:
    """Raises `ModelNotFound`, and `PermissionDenied`, where a request names a model that its caller may not use.

    `named`: what stands in its field `model`, whatever that is.
    """
    if isinstance(named, str):
        tasks_of(request).model(named, caller_of(request))


def settings_of(request: Request) -> Settings:
    """The running service's settings."""
    settings: Settings = request.app.state.settings
    return settings
