"""Keys and their rates, held across replicas that share one Redis."""

import json
from collections import Counter
from itertools import chain
from pathlib import Path

import httpx
import pytest

from blip_serve.keys import digest
from tests.deploy.balancers import haproxy
from tests.deploy.conftest import FAKE
from tests.deploy.parts import installed
from tests.deploy.replicas import replicas
from tests.support.redis_server import redis_server
from tests.support.server import in_threads
from tests.support.waiting import WAIT_S

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]
LIMIT = 300
ASKED = 450
CLIENTS = 6
GOOD = {"authorization": "Bearer right"}


def test_a_rate_holds_across_replicas(tmp_path: Path) -> None:
    installed("redis-server")
    key = {"name": "tester", "sha256": digest("right"), "rate": f"{LIMIT}/hour"}

    def ask(url: str) -> list[int]:
        with httpx.Client(base_url=url, headers=GOOD, trust_env=False, timeout=WAIT_S) as client:
            return [client.get("/v1/models").status_code for _ in range(ASKED // CLIENTS)]

    with (
        redis_server() as redis,
        replicas(
            tmp_path, "tests.support.fake_server", "fine",
            **FAKE, auth__keys=json.dumps([key]), auth__redis_url=redis, server__metrics="open",
        ) as three,
        haproxy(tmp_path, three) as balancer,
    ):  # fmt: skip
        assert httpx.get(f"{balancer.url}/v1/models", trust_env=False).status_code == 401
        statuses = Counter(chain.from_iterable(in_threads([lambda: ask(balancer.url)] * CLIENTS)))
        pages = [httpx.get(f"{replica.url}/metrics", trust_env=False).text for replica in three]
    print(f"rate of {LIMIT} over 3 replicas: {dict(statuses)} of {ASKED}")
    assert set(statuses) == {200, 429}
    assert statuses.total() == ASKED
    assert abs(statuses[200] - LIMIT) <= 0.02 * LIMIT
    assert all('blip_serve_key_requests_total{key="tester",status="200"}' in page for page in pages), "one served all"
