"""The routes that take images, from the OpenAPI document: each with an example to change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """A route and a way to ask it: `kind` is the body's media type, `fields` the names it reads."""

    path: str
    kind: str
    example: Mapping[str, Any]
    fields: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return self.path if self.kind == JSON else f"{self.path} (form)"

    def with_image(self, image: str) -> dict[str, Any]:
        """The example with `image` for its image, as httpx sends it."""
        body = _replaced(self.example, image)
        return {"json": body} if self.kind == JSON else {"files": _parts(body)}


def routes(client: httpx.Client) -> list[Route]:
    """All that the server has."""
    paths = client.get("/openapi.json").json()["paths"]
    return [
        Route(path, kind, content["example"], tuple(content["schema"]["properties"]))
        for path, operations in paths.items()
        for kind, content in operations.get("post", {}).get("requestBody", {}).get("content", {}).items()
    ]


def _replaced(value: Any, image: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(inner, image) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, image) for inner in value]
    return image if isinstance(value, str) and value.startswith("data:") else value


def _parts(body: Mapping[str, Any]) -> list[tuple[str, tuple[None, str]]]:
    return [(name, (None, value)) for name, values in body.items() for value in values]
