"""`/v1/models` and `/v1/models/{id}`: the catalogue, with cards and states. Keys with that right load and unload."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request

from blip_serve.api.auth import caller_of
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.api.model_pages import ModelList, ModelPage, full_page, model_page
from blip_serve.directory import ModelStatus
from blip_serve.findings import Findings
from blip_serve.tasks.service import Tasks

router = APIRouter(responses={"4XX": {"model": ErrorEnvelope}})
Name = Annotated[str, Path(examples=["demo"])]


@router.get("/v1/models", summary="List models")
async def models(request: Request) -> ModelList:
    """The catalogue, with each model's card and state."""
    tasks: Tasks = request.app.state.tasks
    return ModelList(data=[model_page(status) for status in tasks.models(caller_of(request))])


@router.get("/v1/models/{name:path}", summary="Show a model")
async def model(name: Name, request: Request) -> ModelPage:
    """One model, by its id (which may hold a slash), its id without the owner, or an alias.

    With what was found out about it here: by `blip-serve doctor`, `eval`, `calibrate` and `models --fit`.
    """
    if not name:  # the path ends before it names a model
        raise HTTPException(404)
    tasks: Tasks = request.app.state.tasks
    return await _page(tasks.model(name, caller_of(request)), request)


@router.post("/v1/models/{name:path}/load", summary="Load a model", responses={"5XX": {"model": ErrorEnvelope}})
async def load(name: Name, request: Request) -> ModelPage:
    """Loads a model, and answers once it is ready. Idle models are unloaded if it needs their memory.

    For keys with `manage_models`, and for anyone where no keys are asked for.
    """
    tasks: Tasks = request.app.state.tasks
    return await _page(await tasks.load(name, caller_of(request)), request)


@router.post("/v1/models/{name:path}/unload", summary="Unload a model")
async def unload(name: Name, request: Request) -> ModelPage:
    """Unloads a model, and answers once its memory is given back. 409 if it is in use or preloaded.

    For the same keys as loading.
    """
    tasks: Tasks = request.app.state.tasks
    return await _page(await tasks.unload(name, caller_of(request)), request)


async def _page(status: ModelStatus, request: Request) -> ModelPage:
    findings = Findings(request.app.state.settings.data)
    return full_page(status, await asyncio.to_thread(findings.of, status.parent or status.id))
