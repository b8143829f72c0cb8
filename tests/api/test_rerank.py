"""`POST /v1/rerank` and `/v2/rerank`, as JSON; Cohere's own client is in test_cohere.py."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import Item, MatchItem, Prepared
from blip_serve.models.fake import FakeModel
from tests.support.errors import check
from tests.support.pictures import encoded, picture
from tests.support.server import Service, always, fake_settings, serving, settings, with_key

PICTURES = EMBEDDED / "pictures"
CAPTIONS: dict[str, dict[str, str]] = json.loads((PICTURES / "pictures.json").read_text())
NAMES = sorted(CAPTIONS)
TEXTS = [CAPTIONS[name]["caption"] for name in NAMES]
TOLERANCE = 1e-5


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


IMAGES = [data_uri((PICTURES / name).read_bytes()) for name in NAMES]


def post(service: Service, path: str = "/v1/rerank", **body: Any) -> dict[str, Any]:
    response = service.client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def order(answer: dict[str, Any]) -> list[int]:
    return [result["index"] for result in answer["results"]]


class Watched(FakeModel):
    """Remembers the items it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[MatchItem] = []

    def prepare(self, item: Item) -> Prepared:
        if isinstance(item, MatchItem) and item.image.digest != "warm-up":
            self.items.append(item)
        return super().prepare(item)


@pytest.fixture
def watched() -> Iterator[tuple[Service, Watched]]:
    model = Watched()
    with serving(fake_settings(), always(model)) as service:
        yield service, model


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_the_answer_has_the_documented_shape(demo: Service, path: str) -> None:
    answer = post(demo, path, model="demo", query="a large red circle", documents=IMAGES)
    assert set(answer) == {"id", "object", "model", "protocol", "results", "usage", "meta"}
    assert answer["id"].startswith("rerank-")
    assert (answer["object"], answer["model"], answer["protocol"]) == ("list", "blip-serve/demo-retrieval", "hf")
    assert sorted(order(answer)) == list(range(len(IMAGES)))
    assert all(set(result) == {"index", "relevance_score", "itm_score"} for result in answer["results"])
    given = 65 * len(IMAGES) + 6
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == given
    assert answer["meta"] == {
        "api_version": {"version": "2"},
        "tokens": {"input_tokens": given},
        "cached_tokens": answer["usage"]["prompt_tokens_details"]["cached_tokens"],
    }


@pytest.mark.parametrize("rank_by", ["itm", "cosine", "paper"])
@pytest.mark.parametrize("wanted", range(len(NAMES)))
def test_the_picture_a_text_describes_comes_first(demo: Service, wanted: int, rank_by: str) -> None:
    assert order(post(demo, query=TEXTS[wanted], documents=IMAGES, rank_by=rank_by))[0] == wanted


@pytest.mark.parametrize("rank_by", ["itm", "cosine", "paper"])
@pytest.mark.parametrize("wanted", range(len(NAMES)))
def test_the_text_that_describes_a_picture_comes_first(demo: Service, wanted: int, rank_by: str) -> None:
    assert order(post(demo, query=IMAGES[wanted], documents=TEXTS, rank_by=rank_by))[0] == wanted


@pytest.mark.parametrize("protocol", ["hf", "paper"])
@pytest.mark.parametrize("side", ["text", "image"])
@pytest.mark.parametrize("shortlist", [None, 4])
@pytest.mark.parametrize("rank_by", ["itm", "cosine", "paper"])
def test_results_are_sorted_by_match_s_scores(
    demo: Service, rank_by: str, shortlist: int | None, side: str, protocol: str
) -> None:
    body: dict[str, Any]
    pairs: dict[str, Any]
    if side == "text":
        body, pairs = {"query": TEXTS[3], "documents": IMAGES}, {"images": IMAGES, "caption": TEXTS[3]}
    else:
        body, pairs = {"query": IMAGES[3], "documents": TEXTS}, {"image": IMAGES[3], "captions": TEXTS}
    matches = demo.client.post("/v1/match", json=pairs | {"protocol": protocol}).json()["data"]
    expected = {
        "itm": [match["itm_score"] for match in matches],
        "cosine": [match["cosine_score"] for match in matches],
        "paper": [match["itm_logits"][1] + match["cosine_score"] for match in matches],
    }
    answer = post(demo, **body, rank_by=rank_by, shortlist=shortlist, protocol=protocol)
    by_cosine = sorted(range(len(matches)), key=lambda i: -expected["cosine"][i])[:shortlist]
    assert order(answer) == sorted(by_cosine, key=lambda i: -expected[rank_by][i])
    for result in answer["results"]:
        place = result["index"]
        assert result["relevance_score"] == pytest.approx(expected[rank_by][place], abs=TOLERANCE)
        assert result.get("itm_score", expected["itm"][place]) == pytest.approx(expected["itm"][place], abs=TOLERANCE)
        assert result.get("cosine_score", expected["cosine"][place]) == pytest.approx(
            expected["cosine"][place], abs=TOLERANCE
        )
    shown = {"itm": {"itm_score"}, "cosine": {"cosine_score"}, "paper": {"itm_score", "cosine_score"}}[rank_by]
    shown = shown | ({"cosine_score"} if shortlist else set())
    assert set(answer["results"][0]) == {"index", "relevance_score"} | shown


def test_top_n_takes_the_best_and_may_exceed_the_documents(demo: Service) -> None:
    everything = post(demo, query=TEXTS[0], documents=IMAGES)["results"]
    best = post(demo, query=TEXTS[0], documents=IMAGES, top_n=2)["results"]
    assert [result["index"] for result in best] == [result["index"] for result in everything[:2]]
    assert len(post(demo, query=TEXTS[0], documents=IMAGES, top_n=10_000)["results"]) == len(IMAGES)


def test_equally_relevant_documents_keep_their_order(watched: tuple[Service, Watched]) -> None:
    service, _ = watched  # it scores equal inputs equally, to the last bit
    documents = [TEXTS[1], TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[1]]
    assert order(post(service, query=IMAGES[0], documents=documents)) in ([0, 2, 4, 1, 3], [1, 3, 0, 2, 4])
    assert order(post(service, query=IMAGES[0], documents=[TEXTS[0]] * 5, shortlist=3, top_n=2)) == [0, 1]


@pytest.mark.parametrize("side", ["text", "image"])
def test_only_the_shortlist_is_scored_twice(watched: tuple[Service, Watched], side: str) -> None:
    service, model = watched
    images = [data_uri(encoded(picture(seed))) for seed in range(12)]
    texts = [f"text {i}" for i in range(12)]
    query, documents = ("a dog", images) if side == "text" else (images[0], texts)
    assert len(post(service, query=query, documents=documents, shortlist=3)["results"]) == 3
    asked = [(score, len(item.captions)) for item in model.items for score in item.scores]
    assert sum(captions for score, captions in asked if score == "cosine") == 12
    assert sum(captions for score, captions in asked if score == "itm") == 3
    model.items.clear()
    assert len(post(service, query=query, documents=documents, shortlist=3, rank_by="cosine")["results"]) == 3
    assert {score for item in model.items for score in item.scores} == {"cosine"}


@pytest.mark.parametrize(
    ("rank_by", "scores"), [("itm", {"itm"}), ("cosine", {"cosine"}), ("paper", {"itm", "cosine"})]
)
def test_only_what_is_ranked_by_is_computed(watched: tuple[Service, Watched], rank_by: str, scores: set[str]) -> None:
    service, model = watched
    post(service, query=IMAGES[0], documents=TEXTS, rank_by=rank_by)
    assert [set(item.scores) for item in model.items] == [scores]


@pytest.mark.parametrize("side", ["text", "image"])
def test_without_caches_every_image_is_decoded_and_encoded_once_for_both_stages(side: str) -> None:
    images = [data_uri(encoded(picture(seed))) for seed in range(6)]
    query, documents = (TEXTS[0], images) if side == "text" else (images[0], TEXTS)
    with serving(settings(images={"cache_tokens_bytes": 0, "cache_vectors_bytes": 0})) as service:
        before = service.metric("batch_size_sum", phase="encode")
        decoded = service.metric("image_decode_seconds_count")
        assert len(post(service, query=query, documents=documents, shortlist=4, rank_by="paper")["results"]) == 4
        count = len(images) if side == "text" else 1
        assert service.metric("batch_size_sum", phase="encode") - before == count
        assert service.metric("image_decode_seconds_count") - decoded == count


def test_documents_come_back_as_clients_read_them(demo: Service) -> None:
    part = {"type": "image_url", "image_url": {"url": IMAGES[2]}}
    documents = [IMAGES[0], {"image": IMAGES[1]}, part, {"url": IMAGES[3]}]
    answer = post(demo, query=TEXTS[0], documents=documents, return_documents=True)
    found = {result["index"]: result["document"] for result in answer["results"]}
    assert found == {0: {"text": IMAGES[0]}, 1: {"image": IMAGES[1]}, 2: part, 3: {"url": IMAGES[3]}}
    answer = post(demo, query=IMAGES[0], documents=["a star", {"text": "a ring"}], return_documents=True)
    found = {result["index"]: result["document"] for result in answer["results"]}
    assert found == {0: {"text": "a star"}, 1: {"text": "a ring"}}
    assert "document" not in post(demo, query=IMAGES[0], documents=["a star"], return_documents=False)["results"][0]


def test_vllm_s_content_and_jina_s_objects_are_documents(demo: Service) -> None:
    parts = [{"type": "image_url", "image_url": {"url": image}} for image in IMAGES]
    expected = order(post(demo, query=TEXTS[0], documents=IMAGES))
    answer = post(demo, query={"text": TEXTS[0]}, documents={"content": parts}, return_documents=True)
    assert order(answer) == expected
    assert answer["results"][0]["document"] == parts[0]
    assert order(post(demo, query=TEXTS[0], documents=[{"image": image} for image in IMAGES])) == expected


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens_per_doc": 512},
        {"max_chunks_per_doc": 10},
        {"rank_fields": ["text"]},
        {"relevant_spans": {"mode": "disabled"}},
        {"priority": 3},
        {"user": "somebody"},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_other_parameters_of_the_clients_change_nothing(demo: Service, extra: dict[str, Any]) -> None:
    assert order(post(demo, query=IMAGES[0], documents=TEXTS, **extra)) == order(
        post(demo, query=IMAGES[0], documents=TEXTS)
    )


def test_a_thousand_texts_and_sixty_four_images_are_ranked() -> None:
    with serving(fake_settings(), always(FakeModel())) as service:
        assert len(post(service, query=IMAGES[0], documents=[f"text {i}" for i in range(1000)])["results"]) == 1000
        images = [data_uri(encoded(picture(seed))) for seed in range(64)]
        assert len(post(service, query="a dog", documents=images, shortlist=64)["results"]) == 64


def good() -> dict[str, Any]:
    return {"query": IMAGES[0], "documents": ["a star", "a ring"]}


BAD: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("no query", {"documents": ["a"]}, 400, "missing_required_parameter", "query"),
    ("no documents", {"query": "a"}, 400, "missing_required_parameter", "documents"),
    ("null query", good() | {"query": None}, 400, "invalid_type", "query"),
    ("null documents", good() | {"documents": None}, 400, "invalid_type", "documents"),
    ("several queries", good() | {"query": ["a"]}, 400, "invalid_type", "query"),
    ("empty documents", good() | {"documents": []}, 400, "invalid_value", "documents"),
    ("a document of a wrong type", good() | {"documents": ["a", 5]}, 400, "invalid_type", "documents[1]"),
    ("text and text", good() | {"query": "a star"}, 400, "unsupported_input", "documents[0]"),
    ("image and image", good() | {"documents": [IMAGES[1]]}, 400, "unsupported_input", "documents[0]"),
    ("an odd image", good() | {"documents": ["a", "b", {"url": IMAGES[1]}]}, 400, "unsupported_input",
     "documents[2].url"),
    ("an odd text", {"query": "a", "documents": [IMAGES[1], "b", IMAGES[2]]}, 400, "unsupported_input", "documents[1]"),
    ("a URL as a string", {"query": "a", "documents": ["https://example.com/dog.jpg"]}, 400, "unsupported_input",
     "documents[0]"),
    ("blank query", {"query": " ", "documents": [IMAGES[0]]}, 400, "empty_input", "query"),
    ("blank document", good() | {"documents": ["a", ""]}, 400, "empty_input", "documents[1]"),
    ("no picture", good() | {"query": {"image": "aGVsbG8="}}, 400, "unsupported_image_format", "query.image"),
    ("a document is no picture", {"query": "a", "documents": [IMAGES[0], {"image": "aGVsbG8="}]}, 400,
     "unsupported_image_format", "documents[1].image"),
    ("a document over-long", good() | {"documents": ["a", {"text": "red " * 100}]}, 400, "input_too_long",
     "documents[1].text"),
    ("65 images", {"query": "a", "documents": [{"image": "aGVsbG8="}] * 65}, 400, "too_many_images", "documents"),
    ("1001 texts", good() | {"documents": ["a"] * 1001}, 400, "too_many_captions", "documents"),
    ("a flood", good() | {"documents": ["a"] * 20_000}, 400, "too_many_captions", "documents"),
    ("no top_n", good() | {"top_n": 0}, 400, "invalid_value", "top_n"),
    ("negative top_n", good() | {"top_n": -1}, 400, "invalid_value", "top_n"),
    ("huge top_n", good() | {"top_n": 10**30}, 400, "invalid_value", "top_n"),
    ("top_n of a wrong type", good() | {"top_n": "2"}, 400, "invalid_type", "top_n"),
    ("top_n true", good() | {"top_n": True}, 400, "invalid_type", "top_n"),
    ("no shortlist", good() | {"shortlist": 0}, 400, "invalid_value", "shortlist"),
    ("negative shortlist", good() | {"shortlist": -3}, 400, "invalid_value", "shortlist"),
    ("huge shortlist", good() | {"shortlist": 10**30}, 400, "invalid_value", "shortlist"),
    ("half a shortlist", good() | {"shortlist": 1.5}, 400, "invalid_type", "shortlist"),
    ("unknown rank_by", good() | {"rank_by": "size"}, 400, "invalid_value", "rank_by"),
    ("unknown protocol", good() | {"protocol": "mine"}, 400, "invalid_value", "protocol"),
    ("other rank_fields", good() | {"rank_fields": ["title"]}, 400, "unsupported_parameter", "rank_fields"),
    ("relevant spans", good() | {"relevant_spans": {"mode": "enabled"}}, 400, "unsupported_parameter",
     "relevant_spans"),
    ("unknown field", good() | {"colour": "red"}, 400, "unknown_parameter", "colour"),
    ("unknown model", good() | {"model": "rerank-v4.0-pro"}, 404, "model_not_found", "model"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_by_name(
    demo: Service, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    check(demo.client.post("/v2/rerank", json=body), status, code, param)
    assert demo.client.post("/v2/rerank", json=good()).status_code == 200


def test_who_gives_a_url_as_a_string_is_told_how_to_give_it(demo: Service) -> None:
    response = demo.client.post("/v1/rerank", json={"query": "a", "documents": ["https://example.com/dog.jpg"]})
    assert '{"url": ...}' in response.json()["error"]["message"]
    response = demo.client.post("/v1/rerank", json={"query": "a", "documents": ["a dog"]})
    assert "url" not in response.json()["error"]["message"]


@pytest.mark.parametrize("field", ["top_n", "shortlist", "query", "documents"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(demo: Service, field: str, number: str) -> None:
    content = json.dumps(good() | {field: "@"}).replace('"@"', number)
    response = demo.client.post("/v1/rerank", content=content, headers={"content-type": "application/json"})
    check(response, 400, response.json()["error"]["code"], field)
    assert response.json()["error"]["code"] in ("invalid_type", "invalid_value")


def test_a_model_without_the_task_is_refused_before_any_work() -> None:
    model = FakeModel("caption")
    with serving(fake_settings(), always(model)) as service:
        steps = len(model.steps)
        check(service.client.post("/v1/rerank", json=good()), 400, "task_not_supported", "model")
        assert len(model.steps) == steps


def test_pairs_are_held_to_their_limit() -> None:
    with serving(fake_settings(limits={"max_pairs": 3}), always(FakeModel())) as service:
        assert service.client.post("/v1/rerank", json=good() | {"documents": ["a"] * 3}).status_code == 200
        refused = service.client.post("/v1/rerank", json=good() | {"documents": ["a"] * 4})
        check(refused, 400, "too_many_captions", "documents")


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_all_paths_ask_for_the_key(path: str) -> None:
    with serving(fake_settings(auth=with_key("secret")), always(FakeModel())) as service:
        assert service.client.post(path, json=good()).status_code == 401
        assert service.client.post(path, json=good(), headers={"authorization": "Bearer secret"}).status_code == 200
