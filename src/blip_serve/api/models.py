"""`GET /v1/models` and `/v1/models/{id}`: the catalogue, with cards and states."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Request

from blip_serve.api.context import caller_of, tasks_of
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.api.model_pages import Model, ModelList, model_page

router = APIRouter(responses={"4XX": {"model": ErrorEnvelope}})


@router.get("/v1/models", summary="List models")
async def models(request: Request) -> ModelList:
    """The catalogue, with each model's card and state."""
    return ModelList(data=[model_page(status) for status in tasks_of(request).models(caller_of(request))])


@router.get("/v1/models/{name:path}", summary="Show a model")
async def model(name: Annotated[str, Path(examples=["demo"])], request: Request) -> Model:
    """One model, by its id (which may hold a slash), its id without the owner, or an alias."""
    if not name:  # the path of a model, less the model
        raise HTTPException(404)
    return model_page(tasks_of(request).model(name, caller_of(request)))
