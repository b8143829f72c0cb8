"""What several tests share: three replicas with a fake model, and a balancer before them."""

import json
from collections.abc import Iterator

import pytest

from tests.deploy.balancers import Balancer, haproxy, nginx
from tests.deploy.replicas import Replica, replicas

STEP_S = 0.02
FAKE = {"catalogue": "false", "models": json.dumps([{"id": "test/fake", "preload": True}])}


@pytest.fixture(scope="package")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    """Three replicas that believe what a balancer on this host forwards."""
    folder = tmp_path_factory.mktemp("replicas")
    settings = FAKE | {"server__trusted_proxies": '["127.0.0.1"]'}
    with replicas(folder, "tests.support.fake_server", "fine", "launch", "1", str(STEP_S), **settings) as running:
        yield running


@pytest.fixture(scope="package", params=[nginx, haproxy], ids=lambda balancer: str(balancer.__name__))
def balancer(
    request: pytest.FixtureRequest, three: list[Replica], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Balancer]:
    """Each balancer in turn."""
    with request.param(tmp_path_factory.mktemp("balancer"), three) as running:
        yield running
