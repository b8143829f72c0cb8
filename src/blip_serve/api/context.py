"""What routes are given: the tasks, as the request's caller may use them, and the settings of the running service.

Coroutines: FastAPI runs plain functions on a thread of its pool, and a request would wait for one each time.
"""

from typing import Annotated

from fastapi import Depends, Request

from blip_serve.domain import Caller
from blip_serve.settings import Settings
from blip_serve.tasks.service import Tasks
from blip_serve.telemetry import Telemetry


async def _tasks(request: Request) -> Tasks:
    tasks: Tasks = request.app.state.tasks
    caller: Caller | None = getattr(request.state, "caller", None)
    return tasks if caller is None else tasks.of(caller)


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _telemetry(request: Request) -> Telemetry:
    telemetry: Telemetry = request.app.state.telemetry
    return telemetry


TasksOf = Annotated[Tasks, Depends(_tasks)]
SettingsOf = Annotated[Settings, Depends(_settings)]
TelemetryOf = Annotated[Telemetry, Depends(_telemetry)]
