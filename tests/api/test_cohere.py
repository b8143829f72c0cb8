"""`/v1/rerank` and `/v2/rerank` through Cohere's own clients."""

import base64
from collections.abc import Iterator

import cohere
import pytest
from cohere.core.request_options import RequestOptions
from cohere.errors import BadRequestError, NotFoundError

from blip_serve.catalogue import EMBEDDED
from tests.support.server import Service

PICTURES = EMBEDDED / "pictures"
TEXTS = ["a large blue circle", "a large red circle", "a small green star"]


def data_uri(name: str) -> str:
    return "data:image/png;base64," + base64.b64encode((PICTURES / name).read_bytes()).decode()


RED, STAR = data_uri("red-circle.png"), data_uri("pink-star.png")


@pytest.fixture(scope="module")
def client(demo: Service) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2(api_key="unused", base_url=demo.url) as sdk:
        yield sdk


def test_texts_are_ranked_by_an_image(client: cohere.ClientV2) -> None:
    answer = client.rerank(model="demo", query=RED, documents=TEXTS, top_n=2, max_tokens_per_doc=512)
    assert answer.results[0].index == 1
    assert len(answer.results) == 2
    assert answer.results[0].relevance_score > 0.9 > answer.results[1].relevance_score
    assert answer.id is not None
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.tokens is not None
    assert answer.meta.api_version.version == "2"
    assert answer.meta.tokens.input_tokens == 65 + 6 + 6 + 6


def test_images_are_ranked_by_a_text(client: cohere.ClientV2) -> None:
    answer = client.rerank(model="demo", query="a large red circle", documents=[STAR, RED])
    assert [result.index for result in answer.results] == [1, 0]


def test_the_older_client_reads_the_documents_back(demo: Service) -> None:
    with cohere.Client(api_key="unused", base_url=demo.url) as older:
        answer = older.rerank(
            model="demo",
            query=RED,
            documents=[{"text": TEXTS[0]}, TEXTS[1]],
            return_documents=True,
            rank_fields=["text"],
        )
        first = answer.results[0]
        assert (first.index, first.document and first.document.text) == (1, TEXTS[1])


def test_the_older_client_reads_pictures_back_as_it_gave_them(demo: Service) -> None:
    """As LiteLLM does by Jina's, Cohere's and Infinity's names: it asks for the documents and reads their `text`."""
    with cohere.Client(api_key="unused", base_url=demo.url) as older:
        answer = older.rerank(model="demo", query="a star", documents=[STAR, RED], return_documents=True)
        assert {result.index: result.document and result.document.text for result in answer.results} == {
            0: STAR,
            1: RED,
        }


def test_what_blip_does_not_know_is_asked_for_beside(client: cohere.ClientV2) -> None:
    extra: RequestOptions = {"additional_body_parameters": {"rank_by": "cosine", "shortlist": 1}}
    answer = client.rerank(model="demo", query=RED, documents=TEXTS, request_options=extra)
    [result] = answer.results
    assert result.model_dump()["cosine_score"] == result.relevance_score


def test_errors_come_as_the_client_s_own(client: cohere.ClientV2) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.rerank(model="demo", query="a star", documents=TEXTS)
    assert refused.value.body["error"]["param"] == "documents[0]"
    with pytest.raises(NotFoundError) as unknown:
        client.rerank(model="rerank-v4.0-pro", query=RED, documents=TEXTS)
    assert unknown.value.body["error"]["code"] == "model_not_found"
