"""The examples of the OpenAPI document are answered as they stand, by what is served with nothing configured."""

import json

import pytest

from tests.support.server import Service

PATHS = [
    "/v1/explain", "/v1/match", "/v1/chat/completions", "/v1/responses", "/v1/decisions", "/v1/embeddings",
    "/v1/rerank", "/v2/rerank", "/v1/score", "/v1/embed", "/v2/embed", "/rerank", "/score",
]  # fmt: skip


def test_every_endpoint_that_reads_a_body_is_listed_here(demo: Service) -> None:
    paths = demo.client.get("/openapi.json").json()["paths"]
    assert {path for path, each in paths.items() if "requestBody" in each.get("post", {})} == set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_the_example_is_answered(demo: Service, path: str) -> None:
    operation = demo.client.get("/openapi.json").json()["paths"][path]["post"]
    body = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
    response = demo.client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text
