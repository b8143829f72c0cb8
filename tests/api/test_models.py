"""`GET /v1/models`, through the OpenAI client."""

from collections.abc import Iterator

import openai
import pytest

from blip_serve.catalogue import ModelCard
from blip_serve.errors import CheckpointError
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from tests.support.errors import check
from tests.support.server import FAKE, Service, fake_settings, serving
from tests.support.waiting import wait_until


def load(settings: ModelSettings, card: ModelCard) -> tuple[FakeModel, ModelCard]:
    if settings.id != FAKE.id:
        raise CheckpointError("some/where", "config.json: no such file")
    return FakeModel(), card


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(catalogue=True), load) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


def test_the_catalogue_is_listed_with_cards_and_states(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list().data}
    assert list(models) == [
        "test/fake",
        "blip-serve/demo-retrieval",
        "blip-serve/demo-captioning",
        "blip-serve/demo-captioning:plain",
        "blip-serve/demo-vqa",
        "Salesforce/blip-itm-base-coco",
        "Salesforce/blip-itm-base-flickr",
        "Salesforce/blip-itm-large-coco",
        "Salesforce/blip-itm-large-flickr",
        "Salesforce/blip-image-captioning-base",
        "Salesforce/blip-image-captioning-base:plain",
        "Salesforce/blip-image-captioning-large",
        "Salesforce/blip-image-captioning-large:plain",
        "Salesforce/blip-vqa-base",
        "Salesforce/blip-vqa-capfilt-large",
    ]
    large = models["Salesforce/blip-itm-large-coco"].model_dump()
    assert (large["object"], large["owned_by"], large["state"]) == ("model", "Salesforce", "unloaded")
    assert large["tasks"] == ["match", "embed", "explain"]
    assert large["license"] == "bsd-3-clause"
    assert large["inputs"] == {"image_size": 384, "image_tokens": 577, "text_tokens": 512}
    assert large["memory_bytes"]["float16"] == 2 * large["parameters"] == 892_257_284
    assert models["Salesforce/blip-vqa-base"].model_dump()["tasks"] == ["answer", "explain"]
    assert models["test/fake"].model_dump()["state"] == "ready"


def test_the_path_of_no_model_is_an_unknown_path(service: Service) -> None:
    check(service.client.get("/v1/models/"), 404, "not_found", None)


@pytest.mark.parametrize("name", ["Salesforce/blip-itm-base-coco", "blip-itm-base-coco"])
def test_a_model_is_found_with_and_without_its_owner(client: openai.OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == "Salesforce/blip-itm-base-coco"


def test_a_model_is_found_by_its_alias(client: openai.OpenAI) -> None:
    assert client.models.retrieve("fake").id == "test/fake"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("nobody/nothing")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_load_that_fails_leaves_the_others_serving_and_says_why(service: Service, client: openai.OpenAI) -> None:
    body = {"model": "blip-itm-base-flickr", "image": "aGVsbG8=", "caption": "a"}
    response = service.client.post("/v1/match", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "load_failed")
    assert "config.json" not in response.text
    wait_until(lambda: client.models.retrieve("blip-itm-base-flickr").model_dump()["state"] == "failed")
    shown = client.models.retrieve("blip-itm-base-flickr").model_dump()
    assert shown["error"] == "some/where: config.json: no such file"
    assert service.client.post("/v1/match", json=body | {"model": "fake"}).status_code == 200
    assert service.client.get("/readyz").status_code == 200


def test_the_demo_s_card_holds_its_figures(client: openai.OpenAI) -> None:
    shown = client.models.retrieve("blip-serve/demo-retrieval").model_dump()
    assert "drawn shapes" in shown["description"]
    assert shown["metrics"]["seen"]["itm_accuracy"]["hf"]["colour"] >= 0.95
