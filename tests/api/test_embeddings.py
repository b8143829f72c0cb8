"""`POST /v1/embeddings`, through the OpenAI client and as JSON."""

import asyncio
import base64
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from tests.support.errors import check
from tests.support.pictures import encoded, picture
from tests.support.reference import Reference
from tests.support.server import Service, always, fake_settings, serving, settings

RED = (EMBEDDED / "pictures" / "red-circle.png").read_bytes()
DATA_URI = "data:image/png;base64," + base64.b64encode(RED).decode()
TEXTS = ["a large red circle", "two small green squares and the large blue one"]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def client(demo: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(EMBEDDED / "demo-retrieval")


def post(service: Service, **body: Any) -> dict[str, Any]:
    response = service.client.post("/v1/embeddings", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def vectors(service: Service, **body: Any) -> list[list[float]]:
    return [entry["embedding"] for entry in post(service, **body)["data"]]


def difference(first: list[float], second: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def test_the_client_s_default_and_float_give_the_same_unit_vectors(client: openai.OpenAI) -> None:
    given = [*TEXTS, DATA_URI]
    by_default = client.embeddings.create(model="demo", input=given)
    as_float = client.embeddings.create(model="demo", input=given, encoding_format="float")
    for found, expected in zip(by_default.data, as_float.data, strict=True):
        assert difference(found.embedding, expected.embedding) < 1e-6
    assert [entry.index for entry in by_default.data] == [0, 1, 2]
    assert all(entry.object == "embedding" for entry in by_default.data)
    for entry in by_default.data:
        assert math.hypot(*entry.embedding) == pytest.approx(1, abs=1e-6)
    assert (by_default.object, by_default.model) == ("list", "blip-serve/demo-retrieval")


def test_the_asynchronous_client_reads_the_same(demo: Service) -> None:
    async def ask() -> list[float]:
        async with openai.AsyncOpenAI(base_url=f"{demo.url}/v1", api_key="unused") as sdk:
            answer = await sdk.embeddings.create(model="demo", input=TEXTS[0], user="somebody")
            return answer.data[0].embedding

    assert asyncio.run(ask()) == vectors(demo, input=TEXTS[0])[0]


def test_base64_is_little_endian_float32(demo: Service) -> None:
    [packed] = [entry["embedding"] for entry in post(demo, input=TEXTS[0], encoding_format="base64")["data"]]
    data = base64.b64decode(packed, validate=True)
    assert list(struct.unpack(f"<{len(data) // 4}f", data)) == vectors(demo, input=TEXTS[0])[0]


@pytest.mark.parametrize("protocol", ["hf", "paper"])
def test_texts_equal_the_reference(demo: Service, reference: Reference, protocol: Any) -> None:
    answer = post(demo, input=[*TEXTS, "A Large, RED circle!"], protocol=protocol)
    assert answer["protocol"] == protocol
    for text, entry in zip([*TEXTS, "A Large, RED circle!"], answer["data"], strict=True):
        assert difference(entry["embedding"], reference.text_vector(text, protocol).tolist()) < TOLERANCE


def test_images_equal_the_reference(demo: Service, reference: Reference) -> None:
    images = [encoded(picture(seed, *size)) for seed, size in enumerate([(96, 96), (200, 50), (31, 77)])]
    found = vectors(demo, input=[{"image": base64.b64encode(image).decode()} for image in images])
    for image, vector in zip(images, found, strict=True):
        assert difference(vector, reference.image_vector(image).tolist()) < TOLERANCE


def test_the_dot_product_is_match_s_cosine(demo: Service) -> None:
    image, text = vectors(demo, input=[DATA_URI, TEXTS[0]])
    body = {"image": DATA_URI, "caption": TEXTS[0], "scores": ["cosine"]}
    [match] = demo.client.post("/v1/match", json=body).json()["data"]
    assert sum(a * b for a, b in zip(image, text, strict=True)) == pytest.approx(match["cosine_score"], abs=TOLERANCE)


@pytest.mark.parametrize(
    "image",
    [
        DATA_URI,
        "DATA:image/png;base64," + DATA_URI.partition(",")[2],
        {"image": DATA_URI},
        {"image": DATA_URI.partition(",")[2]},
        {"url": DATA_URI},
        {"image": {"url": DATA_URI}},
        {"type": "image_url", "image_url": {"url": DATA_URI, "detail": "auto"}},
        {"type": "input_image", "image_url": DATA_URI},
        {"content": [{"type": "image_url", "image_url": {"url": DATA_URI}}]},
        "data:image;base64," + DATA_URI.partition(",")[2],
        "data:;base64," + DATA_URI.partition(",")[2],
        " data:application/octet-stream;base64," + DATA_URI.partition(",")[2],
    ],
    ids=["data URI", "upper case", "image", "bare base64", "url", "image url", "part", "input part", "content",
         "half a type", "no type", "bytes"],
)  # fmt: skip
def test_every_form_of_an_image_is_the_same_alone_and_in_a_list(demo: Service, image: object) -> None:
    [expected] = vectors(demo, input=DATA_URI)
    assert vectors(demo, input=image) == [expected]
    assert vectors(demo, input=[image])[0] == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(
    "text",
    [{"text": TEXTS[0]}, {"type": "text", "text": TEXTS[0]}, {"content": [{"type": "input_text", "text": TEXTS[0]}]}],
    ids=["text", "part", "content"],
)
def test_every_form_of_a_text_is_the_same(demo: Service, text: object) -> None:
    assert vectors(demo, input=[text]) == vectors(demo, input=TEXTS[0])


def test_a_string_that_is_no_data_uri_of_an_image_is_a_text(demo: Service) -> None:
    usage = post(demo, input=["https://example.com/dog.jpg", "data: a red circle", "data:image/png,red"])["usage"]
    assert usage["prompt_tokens_details"]["image_tokens"] == 0


@pytest.mark.parametrize("kind", ["image", "", "application/octet-stream"])
def test_no_picture_is_taken_for_words_where_words_are_cleaned(demo: Service, kind: str) -> None:
    """The paper's protocol takes any text: 35 words of base64 were embedded in silence."""
    picture_of_any_type = f"data:{kind};base64," + DATA_URI.partition(",")[2]
    assert vectors(demo, input=picture_of_any_type, protocol="paper") == vectors(demo, input=DATA_URI)


def test_usage_counts_an_image_once_and_every_text(demo: Service) -> None:
    image = {"image": base64.b64encode(encoded(picture(777))).decode()}
    usage = post(demo, input=[image, TEXTS[0], image, TEXTS[0]])["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == 65 + 2 * 6
    assert usage["prompt_tokens_details"]["image_tokens"] == 65
    again = post(demo, input=image)["usage"]
    assert again["prompt_tokens_details"] == {"cached_tokens": 65, "image_tokens": 65}


def test_server_timing_names_the_stages(demo: Service) -> None:
    response = demo.client.post("/v1/embeddings", json={"input": DATA_URI})
    stages = [part.partition(";dur=")[0] for part in response.headers["server-timing"].split(", ")]
    assert stages == ["fetch", "decode", "queue", "device"]


def test_a_thousand_texts_are_embedded_in_shared_steps() -> None:
    model = FakeModel()
    with serving(fake_settings(), always(model)) as service:
        texts = [f"text {i}" for i in range(1000)]
        found = vectors(service, input=texts)
        assert len(found) == 1000
        assert found[531] == vectors(service, input="text 531")[0]
        assert len(model.steps) < 500


def test_the_model_s_own_width_may_be_asked_for_and_no_other(demo: Service, client: openai.OpenAI) -> None:
    width = len(vectors(demo, input=TEXTS[0])[0])
    assert len(client.embeddings.create(model="demo", input=TEXTS[0], dimensions=width).data[0].embedding) == width
    for other in (width - 1, width + 1):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model="demo", input=TEXTS[0], dimensions=other)
        assert (refused.value.param, refused.value.code) == ("dimensions", "invalid_value")
        assert str(width) in refused.value.message


def test_a_wrong_width_is_refused_before_any_work(demo: Service) -> None:
    before = demo.metric("device_seconds_count")
    check(
        demo.client.post("/v1/embeddings", json={"input": TEXTS[0], "dimensions": 7}),
        400,
        "invalid_value",
        "dimensions",
    )
    assert demo.metric("device_seconds_count") == before


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]], ids=["one", "several"])
def test_token_arrays_are_refused_with_the_way_out(client: openai.OpenAI, tokens: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="demo", input=tokens)
    assert (refused.value.param, refused.value.code) == ("input", "unsupported_input")
    assert "check_embedding_ctx_length=False" in refused.value.message


BAD: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("no input", {}, 400, "missing_required_parameter", "input"),
    ("null", {"input": None}, 400, "invalid_type", "input"),
    ("a number", {"input": 5}, 400, "invalid_type", "input"),
    ("nothing in a list", {"input": []}, 400, "invalid_value", "input"),
    ("nothing in a content", {"input": {"content": []}}, 400, "invalid_value", "input.content"),
    ("blank", {"input": " "}, 400, "empty_input", "input"),
    ("one blank", {"input": ["a", {"text": ""}]}, 400, "empty_input", "input[1].text"),
    ("a number in a list", {"input": ["a", 5]}, 400, "invalid_type", "input[1]"),
    ("null in a list", {"input": ["a", None]}, 400, "invalid_type", "input[1]"),
    ("a list in a list", {"input": ["a", ["b"]]}, 400, "invalid_type", "input[1]"),
    ("text of a wrong type", {"input": {"text": 5}}, 400, "invalid_type", "input.text"),
    ("image of a wrong type", {"input": [{"image": 5}]}, 400, "invalid_type", "input[0].image"),
    ("url of a wrong type", {"input": {"image": {"url": None}}}, 400, "invalid_type", "input.image.url"),
    ("empty object", {"input": {}}, 400, "invalid_value", "input"),
    ("unknown key", {"input": [{"text": "a", "title": "b"}]}, 400, "unknown_parameter", "input[0].title"),
    ("text and image", {"input": {"text": "a", "image": DATA_URI}}, 400, "invalid_value", "input"),
    ("content of a wrong type", {"input": {"content": "a"}}, 400, "invalid_value", "input.content"),
    ("content of several in a list", {"input": [{"content": [{"type": "text", "text": "a"}] * 2}]}, 400,
     "unsupported_content", "input[0].content"),
    ("unknown part", {"input": {"type": "audio"}}, 400, "unsupported_content", "input"),
    ("part of a content", {"input": {"content": [{"type": "text"}]}}, 400, "invalid_type", "input.content[0].text"),
    ("no picture", {"input": {"image": "aGVsbG8="}}, 400, "unsupported_image_format", "input.image"),
    ("empty picture", {"input": ["a", "data:image/png;base64,"]}, 400, "empty_image", "input[1]"),
    ("private URL", {"input": {"url": "http://169.254.169.254/"}}, 400, "blocked_url", "input.url"),
    ("file URL", {"input": {"image": "file:///etc/passwd"}}, 400, "unsupported_url_scheme", "input.image"),
    ("over-long", {"input": ["a", "red " * 100]}, 400, "input_too_long", "input[1]"),
    ("beyond all reason", {"input": "red " * 5000}, 400, "input_too_long", "input"),
    ("clean-up empties it", {"input": "...", "protocol": "paper"}, 400, "empty_input", "input"),
    ("65 images", {"input": [{"image": "aGVsbG8="}] * 65}, 400, "too_many_images", "input"),
    ("1001 texts", {"input": ["a"] * 1001}, 400, "too_many_captions", "input"),
    ("a flood of texts", {"input": ["a"] * 20_000}, 400, "too_many_captions", "input"),
    ("a flood of images", {"input": [{"image": "A"}] * 20_000}, 400, "too_many_images", "input"),
    ("dimensions of a wrong type", {"input": "a", "dimensions": "64"}, 400, "invalid_type", "dimensions"),
    ("no dimensions", {"input": "a", "dimensions": 0}, 400, "invalid_value", "dimensions"),
    ("negative dimensions", {"input": "a", "dimensions": -1}, 400, "invalid_value", "dimensions"),
    ("huge dimensions", {"input": "a", "dimensions": 10**30}, 400, "invalid_value", "dimensions"),
    ("unknown format", {"input": "a", "encoding_format": "hex"}, 400, "invalid_value", "encoding_format"),
    ("unknown protocol", {"input": "a", "protocol": "mine"}, 400, "invalid_value", "protocol"),
    ("unknown field", {"input": "a", "colour": "red"}, 400, "unknown_parameter", "colour"),
    ("unknown model", {"input": "a", "model": "nobody/nothing"}, 404, "model_not_found", "model"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_by_name(
    demo: Service, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    check(demo.client.post("/v1/embeddings", json=body), status, code, param)
    assert demo.client.post("/v1/embeddings", json={"input": "a red circle"}).status_code == 200


@pytest.mark.parametrize(("field", "param"), [("dimensions", "dimensions"), ("input", "input")])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(demo: Service, field: str, param: str, number: str) -> None:
    content = json.dumps({"input": "a", field: 0}).replace("0", number)
    response = demo.client.post("/v1/embeddings", content=content, headers={"content-type": "application/json"})
    check(response, 400, response.json()["error"]["code"], param)
    assert response.json()["error"]["code"] in ("invalid_type", "invalid_value")


def test_forms_are_not_read(demo: Service) -> None:
    response = demo.client.post("/v1/embeddings", data={"input": "a"}, files={"image": RED})
    check(response, 415, "unsupported_content_type", "content-type")


def test_a_model_without_the_task_is_refused_before_any_work() -> None:
    model = FakeModel("caption")
    with serving(fake_settings(), always(model)) as service:
        steps = len(model.steps)
        check(service.client.post("/v1/embeddings", json={"input": "a"}), 400, "task_not_supported", "model")
        assert len(model.steps) == steps


def test_the_model_s_protocol_is_the_default() -> None:
    own = ModelSettings(id="own", source=str(EMBEDDED / "demo-retrieval"), protocol="paper", preload=True)
    with serving(settings(models=(own,))) as service:
        answer = post(service, input="A red, circle!")
        assert answer["protocol"] == "paper"
        assert answer["data"] == post(service, input="A red, circle!", protocol="paper")["data"]
        assert answer["data"] != post(service, input="A red, circle!", protocol="hf")["data"]
