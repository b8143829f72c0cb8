"""The service on a real Ray cluster of this machine: equal answers, more and fewer replicas, the death of one."""

import http.client
import json
import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed")

import ray

from blip_serve.keys import digest
from blip_serve.settings import Settings
from tests.support.asking import IMAGE, chat_messages
from tests.support.pictures import data_uri, picture
from tests.support.ray_cluster import STARTS_S, Cluster, ray_cluster
from tests.support.server import Service, serving
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings(r"default:::ray\."),  # Ray's own
]

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "configs" / "ray.yaml").read_text(encoding="utf-8"))
RETRIEVAL = "blip-serve--demo-retrieval"
CAPTIONING = "blip-serve--demo-captioning"
MISSING = "test/missing"
"""A model that cannot be loaded, and is not until it is asked for."""
IMAGES = [data_uri(picture(seed)) for seed in range(8)]
CAPTIONS = ["a large red circle", "a small blue square", "two green stars"]
KEY = {"authorization": "Bearer right"}
VARYING: Any = {"id": True, "created": True, "usage": {"prompt_tokens_details": True}}
LARGE = {"images": IMAGES * 8, "captions": [f"a red circle and {'a blue star ' * 18}{i}" for i in range(256)]}
"""16384 long pairs: ten seconds and more of a replica on a slow core."""
AUTH = {
    "keys": [
        {"name": "tester", "sha256": digest("right")},
        {"name": "narrow", "sha256": digest("narrow"), "models": ["*/demo-captioning"]},
    ]
}


def config(least: int, most: int, **server: Any) -> dict[str, Any]:
    """The file's, with keys, and so many replicas of the retrieval model."""
    chosen: dict[str, Any] = deepcopy(CONFIG)
    (application,) = chosen["applications"]
    application["args"] |= {"auth": AUTH, "device": "cpu", "dtype": "float32", "log": {"level": "error"}}
    application["args"]["server"] |= server
    application["args"]["models"].append({"id": MISSING, "source": "/missing"})
    (retrieval,) = (each for each in application["deployments"] if each["name"] == RETRIEVAL)
    retrieval["autoscaling_config"] = {
        "min_replicas": least,
        "max_replicas": most,
        "target_ongoing_requests": 2,
        "look_back_period_s": 2,
        "metrics_interval_s": 0.5,
        "upscale_delay_s": 1,
        "downscale_delay_s": 3,
    }
    return chosen


@pytest.fixture(scope="module")
def started() -> Iterator[Cluster]:
    with ray_cluster() as running:
        yield running


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    """Two replicas of the retrieval model."""
    started.run(config(2, 2))
    return started


@pytest.fixture
def scaling(started: Cluster) -> Cluster:
    """One replica or two, and little time for a request."""
    started.run(config(1, 2, request_timeout_s=2))
    return started


@pytest.fixture(scope="module")
def plain() -> Iterator[Service]:
    """The same settings without Ray."""
    (application,) = config(2, 2)["applications"]
    with serving(Settings(**application["args"], catalogue=False)) as service:
        yield service


def ask(url: str, path: str, body: Any, headers: dict[str, str] = KEY) -> tuple[int, Any]:
    """Status and answer, less what differs from one time to the next."""
    response = httpx.post(f"{url}{path}", json=body, headers=headers, timeout=STARTS_S, trust_env=False)
    answer = response.json()
    for name in ("id", "created"):
        answer.pop(name, None)
    answer.get("usage", {}).get("prompt_tokens_details", {}).pop("cached_tokens", None)
    return response.status_code, answer


def models_of(url: str) -> Any:
    """The models page."""
    return httpx.get(f"{url}/v1/models", headers=KEY, trust_env=False).json()["data"]


def nearly(value: Any) -> Any:
    """Equal to what is like it but for the numbers' last digits: works meet in other batches."""
    match value:
        case float():
            return pytest.approx(value, abs=1e-5)
        case dict():
            return {name: nearly(part) for name, part in value.items()}
        case list() | tuple():
            return type(value)(map(nearly, value))
    return value


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/match", {"images": IMAGES, "captions": CAPTIONS}),
        ("/v1/match", {"image": IMAGES[0], "caption": "a star", "protocol": "paper", "model": "demo"}),
        ("/v1/embeddings", {"input": CAPTIONS}),
        ("/v1/rerank", {"query": "a star", "documents": [{"image": image} for image in IMAGES], "shortlist": 3}),
        ("/v1/score", {"queries": "a star", "items": [{"image": image} for image in IMAGES[:2]]}),
        ("/v1/decisions", {"image": IMAGE, "questions": [{"type": "predicate", "statement": "a star"}]}),
        ("/v1/chat/completions", {"messages": chat_messages(), "n": 2, "num_beams": 3}),
        ("/v1/chat/completions", {"messages": chat_messages("what colour?"), "model": "demo-vqa"}),
        ("/v1/match", {"images": ["aGVsbG8="], "captions": CAPTIONS}),
        ("/v1/match", {"images": ["http://127.0.0.1/a.png"], "captions": CAPTIONS}),
        ("/v1/match", {"images": IMAGES, "captions": CAPTIONS, "pairing": "zip"}),
        ("/v1/match", {"images": IMAGES, "captions": [" "]}),
        ("/v1/match", {"image": IMAGE, "caption": "a", "model": "nothing"}),
        ("/v1/match", {"image": IMAGE, "caption": "a", "model": "demo-captioning"}),
        ("/v1/embeddings", {"input": "a", "dimensions": 3}),
        ("/v1/chat/completions", {"messages": chat_messages(), "max_tokens": 100_000}),
    ],
)
def test_answers_and_errors_are_those_of_the_service_without_ray(
    cluster: Cluster, plain: Service, path: str, body: Any
) -> None:
    assert ask(cluster.url, path, body) == nearly(ask(plain.url, path, body))


def test_the_models_page_is_that_of_the_service_without_ray(cluster: Cluster, plain: Service) -> None:
    def page(url: str) -> Any:
        return [{name: value for name, value in model.items() if name != "state"} for model in models_of(url)]

    for url in (cluster.url, plain.url):
        ask(url, "/v1/chat/completions", {"messages": chat_messages()})
        ask(url, "/v1/chat/completions", {"messages": chat_messages("why?"), "model": "demo-vqa"})
    wait_until(lambda: page(cluster.url) == page(plain.url), every=0.2)  # cards come once a second


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"image": IMAGE, "caption": "a"}, {}),
        ({"image": IMAGE, "caption": "a"}, {"authorization": "Bearer wrong"}),
        ({"image": IMAGE, "caption": "a"}, {"authorization": "Bearer narrow"}),
        ({"image": IMAGE, "caption": "a", "model": "demo"}, {"authorization": "Bearer narrow"}),
    ],
)
def test_keys_hold(cluster: Cluster, plain: Service, body: Any, headers: dict[str, str]) -> None:
    status, answer = ask(cluster.url, "/v1/match", body, headers)
    assert (status, answer) == ask(plain.url, "/v1/match", body, headers)
    assert status in (400, 401, 403)


def test_a_stream_is_that_of_the_service_without_ray(cluster: Cluster, plain: Service) -> None:
    def pieces(url: str) -> list[dict[str, Any]]:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="right") as client:
            stream = client.chat.completions.create(
                model="demo-captioning", messages=chat_messages(), stream=True, stream_options={"include_usage": True}
            )
            return [chunk.model_dump(exclude=VARYING) for chunk in stream]

    found = pieces(cluster.url)
    assert found == pieces(plain.url)
    assert len(found) > 3


def test_an_answer_has_one_id(cluster: Cluster) -> None:
    response = httpx.get(f"{cluster.url}/v1/models", headers=KEY | {"x-request-id": "mine"}, trust_env=False)
    assert response.headers.get_list("x-request-id") == ["mine"]


def test_replicas_share_the_images_and_each_is_encoded_once(cluster: Cluster) -> None:
    images = [data_uri(picture(100 + seed)) for seed in range(12)]
    before = cluster.samples("image_cache_misses_total"), cluster.samples("image_cache_hits_total")
    for image in images * 5:
        assert ask(cluster.url, "/v1/match", {"image": image, "caption": "a star"})[0] == 200

    def gained(name: str, before: dict[str, float]) -> list[float]:
        found = cluster.samples(name, deployment=RETRIEVAL)
        return [count - before.get(replica, 0) for replica, count in found.items()]

    wait_until(
        lambda: sum(gained("image_cache_misses_total", before[0]) + gained("image_cache_hits_total", before[1])) == 60,
        every=0.2,
    )
    assert sum(gained("image_cache_misses_total", before[0])) == 12
    assert len([count for count in gained("image_cache_misses_total", before[0]) if count]) == 2


def test_a_client_that_left_is_worked_for_no_longer(cluster: Cluster) -> None:
    def working() -> float:
        return sum(cluster.samples("queue_requests", deployment=RETRIEVAL).values())

    def used() -> float:
        return sum(cluster.samples("used_tokens_total", deployment=RETRIEVAL, key="tester").values())

    def left() -> float:
        return sum(cluster.samples("cancelled_requests_total", deployment="gateway").values())

    assert ask(cluster.url, "/v1/match", {"image": IMAGE, "caption": "a"})[0] == 200
    wait_until(lambda: used() > 0 and working() == 0, every=0.2)
    before, left_before = used(), left()
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port)
    connection.request("POST", "/v1/match", json.dumps(LARGE), KEY | {"content-type": "application/json"})
    wait_until(lambda: working() == 1, every=0.2)
    connection.close()
    wait_until(lambda: working() == 0, every=0.2)
    assert used() - before < 1000  # it would have been 16,000
    wait_until(lambda: left() == left_before + 1, every=0.2)


def test_no_request_of_the_sdk_fails_when_a_replica_dies(cluster: Cluster) -> None:
    bodies = [{"image": image, "captions": LARGE["captions"][:128]} for image in IMAGES]  # always some in flight
    expected = [ask(cluster.url, "/v1/match", body)[1]["data"] for body in bodies]
    answered, failed, stop = [0] * len(IMAGES), list[object](), threading.Event()

    def load(number: int) -> None:
        with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="right") as client:
            while not stop.is_set():
                try:
                    answer: Any = client.post("/match", body=bodies[number], cast_to=object)
                    assert answer["data"] == nearly(expected[number])
                except Exception as error:
                    failed.append(error)
                answered[number] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(IMAGES))]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: min(answered) > 2)
        ray.kill(cluster.actors(RETRIEVAL)[0])
        at_death = list(answered)
        wait_until(lambda: all(now > then + 2 for now, then in zip(answered, at_death, strict=True)), STARTS_S)
        wait_until(lambda: len(cluster.actors(RETRIEVAL)) == 2 and cluster.running(RETRIEVAL) == 2, STARTS_S, 0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join(STARTS_S)
    assert failed == []


def test_a_gateway_is_ready_while_serves_controller_starts_again(cluster: Cluster) -> None:
    def ready() -> int:
        return httpx.get(f"{cluster.url}/readyz", trust_env=False).status_code

    ray.kill(ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve"), no_restart=False)
    found = {ready() for _ in range(100) if not threading.Event().wait(0.1)}
    assert found == {200}
    assert cluster.running(RETRIEVAL) == 2


def test_replicas_come_with_the_load_and_go_with_it(scaling: Cluster) -> None:
    wait_until(lambda: scaling.running(RETRIEVAL) == 1, STARTS_S, 0.2)
    busy, stop, found = threading.Event(), threading.Event(), list[object]()

    def load(number: int, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                body = {"image": IMAGES[number], "captions": CAPTIONS * 20}
                found.append(ask(scaling.url, "/v1/match", body)[0])
            except Exception as error:
                found.append(error)

    slow = threading.Thread(target=load, args=(0, stop))  # asks on while a replica goes
    fast = [threading.Thread(target=load, args=(number, busy)) for number in range(1, len(IMAGES))]
    for thread in (slow, *fast):
        thread.start()
    try:
        wait_until(lambda: scaling.running(RETRIEVAL) == 2, STARTS_S, 0.2)
        busy.set()
        wait_until(lambda: scaling.running(RETRIEVAL) == 1 and len(scaling.actors(RETRIEVAL)) == 1, STARTS_S, 0.2)
    finally:
        busy.set()
        stop.set()
        for thread in (slow, *fast):
            thread.join(STARTS_S)
    assert set(found) == {200}


def test_a_request_has_its_time_and_no_more(scaling: Cluster) -> None:
    status, answer = ask(scaling.url, "/v1/match", LARGE)
    assert (status, answer["error"]["code"]) == (503, "deadline_exceeded")


def test_a_model_that_cannot_be_loaded_is_told_so(scaling: Cluster) -> None:
    def state() -> object:
        return next(model["state"] for model in models_of(scaling.url) if model["id"] == MISSING)

    body = {"image": IMAGE, "caption": "a", "model": MISSING}
    status, answer = ask(scaling.url, "/v1/match", body)
    assert (status, answer["error"]["code"]) == (503, "loading")
    wait_until(lambda: state() == "failed", 2 * STARTS_S, 0.2)
    status, answer = ask(scaling.url, "/v1/match", body)
    assert (status, answer["error"]["code"]) == (503, "load_failed")
