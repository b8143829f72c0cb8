"""`GET /v1/models` and `/v1/models/{id}`: the catalogue, with cards and states."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request

from blip_serve.api.auth import caller_of
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.api.model_pages import Model, ModelList, model_page
from blip_serve.tasks.service import Tasks

router = APIRouter(responses={"4XX": {"model": ErrorEnvelope}})


@router.get("/v1/models", summary="List models")
async def models(request: Request) -> ModelList:
    """The catalogue, with each model's card and state."""
    tasks: Tasks = request.app.state.tasks
    return ModelList(data=[model_page(status) for status in tasks.models(caller_of(request))])


@router.get("/v1/models/{name:path}", summary="Show a model")
async def model(name: Annotated[str, Path(examples=["demo"])], request: Request) -> Model:
    """One model, by its id (which may hold a slash), its id without the owner, or an alias."""
    if not name:  # the path ends before it names a model
        raise HTTPException(404)
    tasks: Tasks = request.app.state.tasks
    return model_page(tasks.model(name, caller_of(request)))
