"""A Ray cluster of this machine alone, on which `serve run` deploys configurations."""

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # else a token is written into the home folder
}

import httpx
import ray
import yaml
from ray import serve
from ray.serve.scripts import cli

from tests.support.waiting import wait_until

STARTS_S = 60.0
"""Bound of waits for replicas: each is a process that imports torch, and the cores are few."""
APPLICATION = "blip-serve"
SAMPLE = re.compile(r"^ray_blip_serve_(\w+){(.*)} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Cluster:
    """What runs, and how it is changed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._deployed: dict[str, Any] | None = None

    def run(self, config: dict[str, Any]) -> None:
        """What `serve run` does with the configuration, but for its port; nothing where it was the last."""
        if config == self._deployed:
            return
        self._deployed = config
        config = config | {"http_options": config["http_options"] | {"port": self.port}}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "ray.yaml"
            file.write_text(yaml.safe_dump(config), encoding="utf-8")
            cli.main(["run", "--non-blocking", str(file)], standalone_mode=False)
        wait_until(self._is_up, STARTS_S, 0.1)

    def running(self, deployment: str) -> int:
        """How many of its replicas run."""
        found = serve.status().applications[APPLICATION].deployments[deployment]
        return int(found.replica_states.get("RUNNING", 0))

    def actors(self, deployment: str) -> list[Any]:
        """Its replicas' processes, for `ray.kill`."""
        named = ray.util.list_named_actors(all_namespaces=True)
        return [ray.get_actor(**each) for each in named if f"#{deployment}#" in each["name"]]

    def samples(self, name: str, **labels: str) -> dict[str, float]:
        """The sums of a metric's samples that carry `labels`, by replica."""
        port = ray.nodes()[0]["MetricsExportPort"]
        found: dict[str, float] = {}
        for sample in SAMPLE.finditer(httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text):
            has = dict(LABEL.findall(sample[2]))
            if sample[1] == name and labels.items() <= has.items():
                found[has["replica"]] = found.get(has["replica"], 0) + float(sample[3])
        return found

    def _is_up(self) -> bool:
        application = serve.status().applications.get(APPLICATION)
        return (
            application is not None
            and application.status == "RUNNING"
            and all(each.status == "HEALTHY" for each in application.deployments.values())
            and httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        )


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """A cluster while inside; it believes in enough processors for every replica."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(
        num_cpus=16,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        _system_config={"metrics_report_interval_ms": 1000},
    )
    try:
        yield Cluster(port)
    finally:
        serve.shutdown()
        ray.shutdown()
