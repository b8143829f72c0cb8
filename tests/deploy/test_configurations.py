"""The files of `docker/` agree with the service and with each other. Needs nothing installed."""

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from blip_serve.models.fake import FakeModel
from blip_serve.settings import PREFIX, ServerSettings, Settings
from tests.deploy.parts import DOCKER, ROOT, free_port, health, installed
from tests.support import raw
from tests.support.server import always, fake_settings, serving
from tests.support.waiting import WAIT_S, wait_until

NGINX = (DOCKER / "nginx.conf").read_text(encoding="utf-8")
HAPROXY = (DOCKER / "haproxy.cfg").read_text(encoding="utf-8")
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
REPLICAS = ["replica-1", "replica-2", "replica-3"]
SERVER = ServerSettings()
POOLS = 2
"""A replica is in each, with connections of its own."""
PURGES = 10
"""Of half the idle connections each: none of 450 is left."""


def number(pattern: str, text: str) -> float:
    """The number at the group of a pattern, which all its places agree on."""
    (found,) = set(re.findall(pattern, text))
    return float(found)


@pytest.mark.parametrize("text", [NGINX, HAPROXY])
def test_a_balancer_knows_each_replica_in_both_pools(text: str) -> None:
    assert re.findall(r"^\s*server (?:replica-\d )?(replica-\d):8000\b", text, re.MULTILINE) == REPLICAS * POOLS


def test_everything_knows_the_same_replicas() -> None:
    assert [name for name in COMPOSE["services"] if name.startswith("replica-")] == REPLICAS
    scraped = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == [f"{name}:8000" for name in REPLICAS]
    for name in REPLICAS:
        address = COMPOSE["services"][name]["networks"]["service"]["ipv4_address"]
        assert f"{name}:{address}" in COMPOSE["x-names"]


def test_the_balancers_bounds_fit_the_services() -> None:
    assert number(r"client_max_body_size (\d+);", NGINX) == SERVER.max_body_bytes
    assert number(r"req.body_size gt (\d+)", HAPROXY) == SERVER.max_body_bytes
    assert number(r"proxy_read_timeout (\d+)s;  #", NGINX) > SERVER.request_timeout_s
    assert number(r"timeout server (\d+)s", HAPROXY) > SERVER.request_timeout_s
    assert POOLS * number(r"max_conns=(\d+)", NGINX) < SERVER.max_connections
    assert POOLS * number(r" maxconn (\d+) pool", HAPROXY) < SERVER.max_connections
    assert PURGES * number(r"pool-purge-delay (\d+)s", HAPROXY) < SERVER.keep_alive_s


def test_haproxy_notices_a_draining_replica_before_its_port_closes() -> None:
    inter, fast, fall = (number(rf"\b{name} (\d+)", HAPROXY) for name in ("inter", "fastinter", "fall"))
    assert inter + (fall - 1) * fast / 1000 < SERVER.shutdown_delay_s


def test_a_replica_has_the_time_to_drain_before_it_is_killed() -> None:
    grace = float(COMPOSE["x-replica"]["stop_grace_period"].removesuffix("s"))
    assert grace >= SERVER.shutdown_delay_s + SERVER.drain_timeout_s + 5


@pytest.mark.parametrize(
    "given",
    [
        dict(re.findall(rf"({PREFIX}\w+)=(\S+)", DOCKERFILE)),
        {k: v.replace("${SUBNET:-172.30.99}", "172.30.99") for k, v in COMPOSE["x-replica"]["environment"].items()},
    ],
    ids=["image", "compose"],
)
def test_the_environment_is_the_services(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(given) >= 2
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert not Settings.load().auth.no_auth, "the image opens itself to anyone"


def test_the_image_has_the_versions_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"ARG VERSION={project['version']}\n" in DOCKERFILE
    listed = subprocess.run(
        [sys.executable, DOCKER / "requirements.py", ROOT / "pyproject.toml", "redis"],
        check=True, capture_output=True, text=True, timeout=WAIT_S,
    ).stdout.splitlines()  # fmt: skip
    assert listed == project["dependencies"] + project["optional-dependencies"]["redis"]


def test_what_the_dockerfile_copies_is_not_ignored() -> None:
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"]
    assert sorted(copied) == sorted(kept)
    assert all(Path(ROOT, path).exists() for path in kept)


def test_the_health_check_passes_for_a_ready_service_only() -> None:
    model = FakeModel()
    model.open.clear()
    with serving(fake_settings(), always(model), ready=False) as service:
        port = int(service.url.rpartition(":")[2])
        assert health(port) == 1
        model.open.set()
        wait_until(lambda: service.client.get("/readyz").status_code == 200)
        assert health(port) == 0
    assert health(free_port()) == 1


def test_whatever_answers_is_alive() -> None:
    model = FakeModel()
    model.open.clear()
    with serving(fake_settings(server={"max_connections": 1}), always(model), ready=False) as service:
        port = int(service.url.rpartition(":")[2])
        assert health(port, "alive") == 0, "it loads"
        with raw.connect(service.url):
            assert raw.status(raw.exchange(service.url)) == 503
            assert health(port, "alive") == 0, "it has as many connections as it may"
        model.open.set()
    assert health(free_port(), "alive") == 1
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # the kernel takes its connections
        assert health(hanging.getsockname()[1], "alive") == 1


@pytest.mark.deploy
@pytest.mark.parametrize("over", [None, "compose.haproxy.yaml", "compose.cuda.yaml"])
def test_docker_compose_accepts_the_files(over: str | None) -> None:
    files = ["-f", "compose.yaml", *(["-f", over] if over else [])]
    checked = subprocess.run(
        [installed("docker-compose"), *files, "config"], cwd=DOCKER, env=os.environ | {"GRAFANA_PASSWORD": "secret"},
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert set(REPLICAS) < set(yaml.safe_load(checked.stdout)["services"])
