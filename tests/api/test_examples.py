"""The examples of the OpenAPI document are answered; model and picture are replaced by those at hand here."""

import json

import pytest

from tests.support.asking import IMAGE
from tests.support.server import Service

MODELS = {
    "Salesforce/blip-image-captioning-base": "demo-captioning",
    "Salesforce/blip-vqa-base": "demo-vqa",
}
PATHS = [
    "/v1/match", "/v1/chat/completions", "/v1/responses", "/v1/decisions", "/v1/embeddings", "/v1/rerank", "/v2/rerank",
    "/v1/score",
]  # fmt: skip


def example(service: Service, path: str) -> str:
    """The example body of a path, as JSON."""
    operation = service.client.get("/openapi.json").json()["paths"][path]["post"]
    body = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
    for name, here in MODELS.items():
        body = body.replace(name, here)
    for picture in ("dog", "cat"):
        body = body.replace(f"https://example.com/{picture}.jpg", IMAGE)
    return body


def test_every_endpoint_that_reads_a_body_is_listed_here(demo: Service) -> None:
    paths = demo.client.get("/openapi.json").json()["paths"]
    assert {path for path, operations in paths.items() if "post" in operations} == set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_the_example_is_answered(demo: Service, path: str) -> None:
    body = example(demo, path)
    assert "example.com" not in body
    response = demo.client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text
