"""Captioning models under `<id>:plain`, where the user's text has no effect, through the OpenAI client."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

from blip_serve.catalogue import EMBEDDED, ModelCard
from blip_serve.models.fake import FakeModel
from blip_serve.settings import DEMO, DEMO_ANSWERS, DEMO_CAPTIONS, ModelSettings
from tests.support.generating import Recorder
from tests.support.pictures import data_uri
from tests.support.server import FAKE, Service, sdk, serving, settings, with_key

INSTRUCTION = "Generate an alt-text description for this image."
CIRCLE = data_uri(Image.open(EMBEDDED / "pictures" / "red-circle.png"))
CAPTIONS = DEMO_CAPTIONS.model_copy(update={"aliases": ("captions",)})


def about(text: str = INSTRUCTION) -> Any:
    parts = [{"type": "image_url", "image_url": {"url": CIRCLE}}, {"type": "text", "text": text}]
    return [{"role": "user", "content": parts}]


def caption(client: openai.OpenAI, model: str, text: str = INSTRUCTION, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=about(text), **more)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    chosen = settings(models=(DEMO, CAPTIONS, DEMO_ANSWERS), default_model="captions:plain")
    with serving(chosen) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with sdk(service) as running:
        yield running


@pytest.mark.parametrize("name", ["blip-serve/demo-captioning", "demo-captioning", "captions"])
def test_the_user_s_text_has_no_effect(client: openai.OpenAI, name: str) -> None:
    begun, plain = caption(client, name), caption(client, f"{name}:plain")
    assert begun.choices[0].message.content != "a large red circle"
    assert plain.choices[0].message.content == "a large red circle"
    assert (begun.model, plain.model) == ("blip-serve/demo-captioning", "blip-serve/demo-captioning:plain")
    assert plain.usage.prompt_tokens == plain.usage.prompt_tokens_details.image_tokens


def test_so_it_is_streamed_and_in_responses(client: openai.OpenAI) -> None:
    chunks = list(caption(client, "captions:plain", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "a large red circle"
    assert {chunk.model for chunk in chunks} == {"blip-serve/demo-captioning:plain"}
    parts: Any = [{"type": "input_image", "image_url": CIRCLE}, {"type": "input_text", "text": INSTRUCTION}]
    response = client.responses.create(model="captions:plain", input=[{"role": "user", "content": parts}])
    assert (response.output_text, response.model) == ("a large red circle", "blip-serve/demo-captioning:plain")


@pytest.mark.parametrize("text", ["", " " * 9000, "word " * 5000])
def test_no_text_is_too_long_to_have_no_effect(client: openai.OpenAI, text: str) -> None:
    assert caption(client, "captions:plain", text).choices[0].message.content == "a large red circle"


def test_the_default_model_may_be_a_plain_one(service: Service, client: openai.OpenAI) -> None:
    body = {"messages": about()}
    answer = service.client.post("/v1/chat/completions", json=body).json()
    assert answer["model"] == "blip-serve/demo-captioning:plain"
    assert answer["choices"][0]["message"]["content"] == "a large red circle"
    assert service.client.post("/v1/match", json={"image": CIRCLE, "caption": "a red circle"}).status_code == 200


def test_captioning_models_are_listed_with_their_plain_form(client: openai.OpenAI) -> None:
    models = {model.id: model.model_dump() for model in client.models.list().data}
    assert list(models) == [
        "blip-serve/demo-retrieval",
        "blip-serve/demo-captioning",
        "blip-serve/demo-captioning:plain",
        "blip-serve/demo-vqa",
    ]
    model, plain = models["blip-serve/demo-captioning"], models["blip-serve/demo-captioning:plain"]
    assert (model["parent"], plain["parent"]) == (None, model["id"])
    assert (plain["state"], plain["tasks"], plain["aliases"]) == ("ready", ["caption", "explain"], ["captions:plain"])
    assert plain["parameters"] == model["parameters"]
    assert "not read" in plain["description"]
    for name in ("blip-serve/demo-captioning:plain", "demo-captioning:plain", "captions:plain"):
        assert plain.items() <= client.models.retrieve(name).model_dump().items()


@pytest.mark.parametrize("name", ["demo:plain", "demo-vqa:plain", "nobody:plain", ":plain", "captions:plain:plain",
                                  "captions:Plain"])  # fmt: skip
def test_nothing_else_has_a_plain_form(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        caption(client, name)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(name)


def test_a_plain_model_does_what_captioning_models_do_and_no_more(service: Service) -> None:
    body = {"model": "captions:plain", "image": CIRCLE, "caption": "a red circle"}
    error = service.client.post("/v1/match", json=body).json()["error"]
    assert (error["code"], error["param"]) == ("task_not_supported", "model")


def test_both_forms_are_one_load_and_share_what_was_encoded() -> None:
    loaded: list[str] = []

    def load(settings: ModelSettings, card: ModelCard) -> tuple[Recorder, ModelCard]:
        loaded.append(settings.id)
        return model, card

    model = Recorder("caption")
    lazy = FAKE.model_copy(update={"preload": False})
    with serving(settings(models=(lazy,)), load) as service, sdk(service) as client:
        assert [each.id for each in client.models.list().data] == ["test/fake"]  # not known to be a captioning model
        assert caption(client, "fake:plain").model == "test/fake:plain"
        assert caption(client, "fake").model == "test/fake"
        assert [item.text.text for item in model.items] == ["", INSTRUCTION]
        assert loaded == ["test/fake"]
        assert service.metric("used_tokens_total", model="test/fake") > 0
        assert service.metric("used_tokens_total", model="test/fake:plain") == 0


def test_a_model_that_turns_out_not_to_write_captions_has_no_plain_form() -> None:
    def load(settings: ModelSettings, card: ModelCard) -> tuple[FakeModel, ModelCard]:
        return FakeModel("answer"), card

    with serving(settings(models=(FAKE,)), load) as service, sdk(service) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            caption(client, "fake:plain")
        assert unknown.value.code == "model_not_found"


FORMS = ("captions", "captions:plain")


@pytest.mark.parametrize(
    ("models", "may"),
    [
        (("captions",), FORMS),
        (("blip-serve/demo-captioning",), FORMS),
        (("blip-serve/*",), FORMS),
        (("captions:plain",), FORMS[1:]),
        (("*:plain",), FORMS[1:]),
        (("demo",), ()),
    ],
)
def test_a_key_for_a_model_is_one_for_its_plain_form(models: tuple[str, ...], may: tuple[str, ...]) -> None:
    chosen = settings(models=(DEMO, CAPTIONS), auth=with_key("right", models=models))
    with serving(chosen) as service, sdk(service, "right") as client:
        for name in FORMS:
            if name in may:
                assert caption(client, name, "").choices[0].message.content == "a large red circle"
            else:
                with pytest.raises(openai.PermissionDeniedError) as refused:
                    caption(client, name)
                assert refused.value.code == "model_not_allowed"
        listed = [name for model in client.models.list().data for name in model.model_dump()["aliases"]]
        assert [name for name in listed if name != "demo"] == list(may)
