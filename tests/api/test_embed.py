"""`POST /v1/embed` and `/v2/embed`, through Cohere's own clients and as JSON."""

import base64
import math
import struct
from collections.abc import Iterator
from typing import Any, get_args

import cohere
import pytest
from cohere.errors import BadRequestError
from cohere.types import EmbedByTypeResponse

from blip_serve.api.vectors import EmbeddingType, binary, int8, ubinary, uint8
from blip_serve.catalogue import EMBEDDED
from blip_serve.models.fake import FakeModel
from tests.support.errors import check
from tests.support.server import Service, always, fake_settings, serving, with_key

RED = "data:image/png;base64," + base64.b64encode((EMBEDDED / "pictures" / "red-circle.png").read_bytes()).decode()
STAR = "data:image/png;base64," + base64.b64encode((EMBEDDED / "pictures" / "pink-star.png").read_bytes()).decode()
TEXTS = ["a large red circle", "a small green star"]
TYPES: list[Any] = list(get_args(EmbeddingType))


@pytest.fixture(scope="module")
def client(demo: Service) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2(api_key="unused", base_url=demo.url) as sdk:
        yield sdk


def expected(demo: Service, *inputs: object) -> list[list[float]]:
    answer = demo.client.post("/v1/embeddings", json={"input": list(inputs)}).json()
    return [entry["embedding"] for entry in answer["data"]]


def close(found: Any, vectors: list[list[float]]) -> bool:
    pairs = [pair for vector, own in zip(found, vectors, strict=True) for pair in zip(vector, own, strict=True)]
    return all(abs(a - b) < 1e-5 for a, b in pairs)


def part(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def picture(url: str) -> dict[str, Any]:
    return {"content": [{"type": "image_url", "image_url": {"url": url}}]}


def test_texts(demo: Service, client: cohere.ClientV2) -> None:
    answer = client.embed(model="demo", input_type="search_query", texts=TEXTS, truncate="END")
    assert close(answer.embeddings.float_, expected(demo, *TEXTS))
    assert (answer.response_type, answer.texts) == ("embeddings_by_type", TEXTS)
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.api_version is not None
    assert (answer.meta.billed_units.input_tokens, answer.meta.api_version.version) == (12, "2")
    assert answer.id


def test_images(demo: Service, client: cohere.ClientV2) -> None:
    answer = client.embed(model="demo", input_type="image", images=[RED, STAR], embedding_types=["float"])
    assert close(answer.embeddings.float_, expected(demo, {"image": RED}, {"image": STAR}))


def test_texts_and_images_as_inputs_in_their_order(demo: Service, client: cohere.ClientV2) -> None:
    inputs: Any = [part(TEXTS[0]), picture(RED), part(TEXTS[1])]
    answer = client.embed(model="demo", input_type="search_document", inputs=inputs, output_dimension=128)
    assert close(answer.embeddings.float_, expected(demo, TEXTS[0], {"image": RED}, TEXTS[1]))


def test_texts_and_images_together_follow_each_other(demo: Service, client: cohere.ClientV2) -> None:
    answer = client.embed(
        model="demo", input_type="search_document", texts=TEXTS, images=[RED], inputs=[part("a star")]  # type: ignore[list-item]
    )  # fmt: skip
    assert close(answer.embeddings.float_, expected(demo, *TEXTS, {"image": RED}, "a star"))


def test_every_type_is_that_of_the_float(client: cohere.ClientV2) -> None:
    answer: EmbedByTypeResponse = client.embed(
        model="demo", input_type="search_query", texts=TEXTS, images=[RED], embedding_types=TYPES
    )
    found = answer.embeddings
    assert found.float_ is not None
    vectors = [tuple(vector) for vector in found.float_]
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=1e-6)
    assert found.int8 == [int8(vector) for vector in vectors]
    assert found.uint8 == [uint8(vector) for vector in vectors]
    assert found.ubinary == [ubinary(vector) for vector in vectors]
    assert found.binary == [binary(vector) for vector in vectors]
    assert found.base64 is not None
    for text, vector in zip(found.base64, vectors, strict=True):
        assert struct.unpack(f"<{len(vector)}f", base64.b64decode(text)) == pytest.approx(vector, abs=1e-7)


def test_types_by_hand() -> None:
    vector = (0.5, -0.5, 0.0, 1.0, -1.0, 0.001, -0.001, 0.25, 0.3)
    assert int8(vector) == [64, -64, 0, 127, -127, 0, 0, 32, 38]
    assert uint8(vector) == [192, 64, 128, 255, 1, 128, 128, 160, 166]
    assert ubinary(vector) == [0b10010101, 0b10000000]
    assert binary(vector) == [0b10010101 - 128, 0]


def test_the_older_client(demo: Service) -> None:
    with cohere.Client(api_key="unused", base_url=demo.url) as older:
        plain = older.embed(model="demo", input_type="search_query", texts=TEXTS)
        assert plain.response_type == "embeddings_floats"
        assert close(plain.embeddings, expected(demo, *TEXTS))
        assert plain.texts == TEXTS
        typed = older.embed(model="demo", input_type="image", images=[RED], embedding_types=["float", "int8"])
        assert typed.response_type == "embeddings_by_type"
        assert close(typed.embeddings.float_, expected(demo, {"image": RED}))
        assert typed.embeddings.int8 is not None


def test_a_text_and_an_image_make_no_one_vector(client: cohere.ClientV2) -> None:
    both: Any = {"content": [*part("a star")["content"], *picture(RED)["content"]]}
    with pytest.raises(BadRequestError) as refused:
        client.embed(model="demo", input_type="search_document", inputs=[part("a"), both])  # type: ignore[list-item]
    error = refused.value.body["error"]
    assert (error["code"], error["param"]) == ("unsupported_content", "inputs[1].content")
    assert "no vector" in error["message"]


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "texts"),
    ({"texts": []}, "missing_required_parameter", "texts"),
    ({"texts": ["a", " "]}, "empty_input", "texts[1]"),
    ({"texts": ["red " * 300]}, "input_too_long", "texts[0]"),
    ({"texts": ["red " * 300], "truncate": "END"}, "input_too_long", "texts[0]"),
    ({"texts": "a"}, "invalid_type", "texts"),
    ({"texts": [1]}, "invalid_type", "texts[0]"),
    ({"texts": ["a"] * 1001}, "too_many_captions", "texts"),
    ({"images": ["aGVsbG8="]}, "unsupported_image_format", "images[0]"),
    ({"images": [RED] * 65}, "too_many_images", "images"),
    ({"texts": ["data:;base64,aGVsbG8="]}, "unsupported_image_format", "texts[0]"),
    ({"inputs": [{"content": []}]}, "unsupported_content", "inputs[0].content"),
    ({"inputs": [7]}, "invalid_type", "inputs[0]"),
    ({"texts": ["a"], "output_dimension": 64}, "invalid_value", "output_dimension"),
    ({"texts": ["a"], "embedding_types": ["int4"]}, "invalid_value", "embedding_types[0]"),
    ({"texts": ["a"], "embedding_types": []}, "invalid_value", "embedding_types"),
    ({"texts": ["a"], "truncate": "MIDDLE"}, "unsupported_parameter", "truncate"),
    ({"texts": ["a"], "max_tokens": 4}, "unsupported_parameter", "max_tokens"),
    ({"texts": ["a"], "colour": 1}, "unknown_parameter", "colour"),
]


@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
@pytest.mark.parametrize(("body", "code", "param"), BAD)
def test_bad_input_is_refused_by_name(demo: Service, path: str, body: dict[str, Any], code: str, param: str) -> None:
    check(demo.client.post(path, json=body), 400, code, param)


@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
def test_what_changes_no_answer_is_accepted(demo: Service, path: str) -> None:
    body = {"texts": ["a"], "input_type": "clustering", "max_tokens": 512, "priority": 3, "truncate": None}
    assert demo.client.post(path, json=body).is_success


def test_both_paths_ask_for_the_key() -> None:
    with serving(fake_settings(auth=with_key("secret")), always(FakeModel("embed"))) as service:
        for path in ("/v1/embed", "/v2/embed"):
            assert service.client.post(path, json={"texts": ["a"]}).status_code == 401
            assert service.client.post(
                path, json={"texts": ["a"]}, headers={"authorization": "Bearer secret"}
            ).is_success
