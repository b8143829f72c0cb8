"""Endpoints as routes: the one place that reads their requests, runs their tasks and sends their answers."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response

from blip_serve.api.auth import caller_of
from blip_serve.api.body import CheckModel, read_body, write_answer
from blip_serve.api.endpoint import Endpoint, Translation
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.api.events import EVENTS, EventStream
from blip_serve.api.form import read_form
from blip_serve.api.middleware import server_timing
from blip_serve.errors import UnsupportedMediaType
from blip_serve.settings import Settings
from blip_serve.tasks.request import work_class
from blip_serve.tasks.service import Tasks

FORM, JSON = "multipart/form-data", "application/json"

AnyEndpoint = Endpoint[Any, Any, Any]


def router_of(endpoints: Iterable[AnyEndpoint]) -> APIRouter:
    """The routes of `endpoints`."""
    router = APIRouter()
    for endpoint in endpoints:
        _add(router, endpoint)
    return router


def _add(router: APIRouter, endpoint: AnyEndpoint) -> None:
    """Adds an endpoint's routes.

    They do not use FastAPI's dependencies (`Depends`), which would take a tenth of a request's time.
    """

    async def answer(request: Request) -> Response:
        state = request.app.state
        tasks: Tasks = state.tasks
        settings: Settings = state.settings
        caller = caller_of(request)

        def check_model(named: object) -> None:
            if isinstance(named, str):
                tasks.model(named, caller)

        asked = await _read(endpoint, request, settings, check_model)
        kind = work_class(asked.request, caller)
        if kind == "background":
            request.state.count_as_background()
        if asked.writer is not None:
            seconds = settings.server.timeout_s(kind)
            return EventStream(tasks.stream(asked.request, caller), asked.writer, state.telemetry, 2 * seconds)
        result = await tasks.run(asked.request, caller)
        content = write_answer(endpoint, asked.answer(result))
        return Response(content, media_type=JSON, headers=server_timing(result.timings))

    responses, body = _responses(endpoint), _request_body(endpoint)
    for path, summary in reversed(list(endpoint.paths.items())):
        router.add_api_route(
            path,
            answer,
            methods=["POST"],
            name=endpoint.name,
            summary=summary,
            description=endpoint.description,
            responses=responses,
            openapi_extra={"requestBody": body},
        )


async def _read(
    endpoint: AnyEndpoint, request: Request, settings: Settings, check_model: CheckModel
) -> Translation[Any, Any]:
    """The request's body, translated.

    Raises `UnsupportedMediaType` for a body of another type, or a compressed one, and what `read_body` raises.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            "Compressed bodies are not read: send the body without 'content-encoding'.", param="content-encoding"
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON:
        return read_body(endpoint, await request.body(), settings, check_model)
    if kind == FORM and endpoint.form is not None:
        async with read_form(request, settings, check_model) as form:
            return await endpoint.form.translate(form, settings)
    or_form = "" if endpoint.form is None else f" or '{FORM}'"
    raise UnsupportedMediaType(f"Send 'content-type: {JSON}'{or_form}.", param="content-type")


def _responses(endpoint: AnyEndpoint) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of the answers."""
    error = {"model": ErrorEnvelope}
    return {200: {"model": endpoint.response} | (EVENTS if endpoint.streams else {}), "4XX": error, "5XX": error}


def _request_body(endpoint: AnyEndpoint) -> dict[str, Any]:
    """What the OpenAPI document says of the body. Its schema refers to no other."""
    schema = endpoint.body.model_json_schema(ref_template="#/components/schemas/{model}")
    content: dict[str, Any] = {JSON: {"schema": schema, "example": endpoint.example}}
    if endpoint.form is not None:
        content[FORM] = {"schema": endpoint.form.schema, "example": endpoint.form.example}
    return {"required": True, "content": content}
