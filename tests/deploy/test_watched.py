"""Three replicas with real models: their image caches behind each balancer, and what a real Prometheus sees."""

import json
import random
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from math import isnan
from pathlib import Path
from typing import Any

import httpx
import pytest

from blip_serve.keys import digest
from tests.deploy.balancers import Balancer, haproxy, nginx
from tests.deploy.parts import DOCKER, START_S, await_answer, free_port, installed, process, replaced
from tests.deploy.queries import Query, panels, rules
from tests.deploy.replicas import Replica, replicas
from tests.support.asking import chat_messages
from tests.support.pictures import data_uri, picture
from tests.support.waiting import WAIT_S, wait_until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]
RETRIEVAL, CAPTIONING = "blip-serve/demo-retrieval", "blip-serve/demo-captioning"
MODELS = [{"id": RETRIEVAL, "preload": True}, {"id": CAPTIONING, "preload": True}]
GOOD = {"authorization": "Bearer right"}
SLOW = {"authorization": "Bearer slow"}
KEYS = [
    {"name": "tester", "sha256": digest("right")},
    {"name": "slow", "sha256": digest("slow"), "rate": "1/hour"},
]
IMAGES = 25
TIMES = 4


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    """Three replicas with the embedded checkpoints."""
    settings: dict[str, object] = {"catalogue": "false", "models": json.dumps(MODELS), "auth__keys": json.dumps(KEYS)}
    settings |= {"threads": 1, "dtype": "float32", "device": "cpu", "server__metrics": "open"}
    with replicas(tmp_path_factory.mktemp("real"), "blip_serve", "serve", **settings) as running:
        yield running


def hit_rate(url: str, seed: int, *, named: bool) -> float:
    """The share of requests whose image was cached, of `IMAGES` new images asked about `TIMES` times in any order."""
    images = [data_uri(picture(seed + number)) for number in range(IMAGES)]
    order = list(range(IMAGES)) * TIMES
    random.Random(seed).shuffle(order)
    hits = 0
    with httpx.Client(base_url=url, headers=GOOD, trust_env=False, timeout=WAIT_S) as client:
        for number in order:
            headers = {"x-image-digest": f"{seed}-{number}"} if named else {}
            body = {"model": RETRIEVAL, "image": images[number], "caption": "a circle", "scores": ["cosine"]}
            answer = client.post("/v1/match", json=body, headers=headers)
            hits += answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    return hits / len(order)


def encoded(replica: Replica) -> float:
    """The images that a replica did not find in its cache."""
    lines = httpx.get(f"{replica.url}/metrics", trust_env=False).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("blip_serve_image_cache_misses_total{"))


@pytest.mark.parametrize(("before", "seed"), [(nginx, 1000), (haproxy, 2000)])
def test_named_images_are_found_in_caches_as_by_one_replica(
    real: list[Replica],
    tmp_path: Path,
    before: Callable[[Path, Sequence[Replica]], AbstractContextManager[Balancer]],
    seed: int,
) -> None:
    alone = hit_rate(real[0].url, seed, named=False)
    with before(tmp_path, real) as balancer:
        counted = [encoded(replica) for replica in real]
        named = hit_rate(balancer.url, seed + 100, named=True)
        shares = [encoded(replica) - was for replica, was in zip(real, counted, strict=True)]
        unnamed = hit_rate(balancer.url, seed + 200, named=False)
    print(f"{balancer.name}, image cache hits: alone {alone:.2f}, named {named:.2f} {shares}, unnamed {unnamed:.2f}")
    assert abs(named - alone) <= 0.05
    assert unnamed < named
    assert all(shares), "one replica had all images"


@pytest.fixture(scope="module")
def prometheus(real: list[Replica], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the configuration of `docker/`, but for addresses and for asking each second; its URL."""
    folder = tmp_path_factory.mktemp("prometheus")
    changes = {f"{replica.name}:8000": f"127.0.0.1:{replica.port}" for replica in real}
    changes |= {"interval: 15s": "interval: 1s"}
    given = DOCKER / "prometheus"
    (folder / "prometheus.yml").write_text(replaced(given / "prometheus.yml", changes), encoding="utf-8")
    shutil.copy(given / "alerts.yml", folder)
    port = free_port()
    with process(
        folder, "prometheus", installed("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
    ):  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        await_answer(f"{url}/-/ready")
        yield url


def ask_everything(replica: Replica) -> None:
    """One of each thing that the dashboard shows."""
    with httpx.Client(base_url=replica.url, headers=GOOD, trust_env=False, timeout=WAIT_S) as client:
        image = data_uri(picture(random.randrange(10_000, 1_000_000)))
        for _ in range(2):
            client.post("/v1/match", json={"model": RETRIEVAL, "image": image, "caption": "a"}).raise_for_status()
        messages: Any = chat_messages()
        client.post("/v1/chat/completions", json={"model": CAPTIONING, "messages": messages}).raise_for_status()
        assert client.get("/v1/models/none").status_code == 404
        assert client.get("/readyz").status_code == 200
        client.get("/v1/models", headers=SLOW)
    with socket.create_connection(("127.0.0.1", replica.port), timeout=WAIT_S) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        connection.recv(100)


def result(prometheus: str, path: str) -> Any:
    """What Prometheus's interface answers."""
    answer = httpx.get(f"{prometheus}/api/v1/{path}", trust_env=False, timeout=WAIT_S).json()
    assert answer["status"] == "success", answer
    return answer["data"]


@pytest.mark.parametrize("query", panels(), ids=lambda query: str(query.name))
def test_a_query_of_the_dashboard_finds_data(prometheus: str, real: list[Replica], query: Query) -> None:
    def found() -> bool:
        series = result(prometheus, f"query?query={urllib.parse.quote(query.text)}")["result"]
        if any(not isnan(float(each["value"][1])) for each in series):
            return True
        for replica in real:
            ask_everything(replica)
        return False

    wait_until(found, seconds=START_S, every=0.5)


def test_the_rules_are_evaluated_and_none_fires_for_a_healthy_service(prometheus: str) -> None:
    def evaluated() -> bool:
        return all(rule["health"] == "ok" for rule in found())

    def found() -> list[Any]:
        return [rule for group in result(prometheus, "rules")["groups"] for rule in group["rules"]]

    wait_until(evaluated, seconds=START_S, every=0.5)
    assert [rule["name"] for rule in found()] == [rule.name for rule in rules()]
    assert result(prometheus, "alerts")["alerts"] == []


def test_promtool_finds_nothing_wrong_in_the_page_of_metrics(real: list[Replica]) -> None:
    ask_everything(real[0])
    page = httpx.get(f"{real[0].url}/metrics", trust_env=False).text
    checked = subprocess.run(
        [installed("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "check", ["check config prometheus.yml", "check rules --lint-fatal alerts.yml", "test rules alerts.test.yml"]
)
def test_promtool_accepts_the_configuration_and_the_rules(check: str) -> None:
    command = [installed("promtool"), *check.split()]
    checked = subprocess.run(
        command, cwd=DOCKER / "prometheus", capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
