"""The balancers, with the very configuration files of `docker/`: only addresses are replaced."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from tests.deploy.parts import DOCKER, await_answer, free_port, installed, process, replaced


class Backend(Protocol):
    """A replica, or what stands for one: its name in the configuration files, and its port on loopback."""

    name: str
    port: int


@dataclass(frozen=True)
class Balancer:
    """A running balancer: where clients find it, and HAProxy's page about itself."""

    name: str
    url: str
    own_url: str = ""

    def states(self) -> dict[str, str]:
        """Each replica's state as HAProxy's checks see it: it begins with UP or DOWN."""
        lines = (
            httpx.get(f"{self.own_url}/stats;csv", trust_env=False, verify=False).text.removeprefix("# ").splitlines()
        )
        rows = (row for row in csv.DictReader(lines) if row["pxname"] == "least_busy")
        return {row["svname"]: row["status"] for row in rows if row["svname"] != "BACKEND"}


@contextmanager
def nginx(folder: Path, replicas: Sequence[Backend]) -> Iterator[Balancer]:
    """nginx before the replicas; `folder` is for what it writes."""
    port = free_port()
    file = folder / "nginx.conf"
    changes = {"listen 8000": f"listen 127.0.0.1:{port}"} | _addresses(replicas)
    file.write_text(replaced(DOCKER / "nginx.conf", changes), encoding="utf-8")
    as_root = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"  # pytest's folders are closed to others
    with process(
        folder, "nginx", installed("nginx"), "-p", f"{folder}/", "-c", str(file), "-e", "stderr", "-g", as_root
    ):
        balancer = Balancer("nginx", f"http://127.0.0.1:{port}")
        await_answer(f"{balancer.url}/readyz")
        yield balancer


@contextmanager
def haproxy(folder: Path, replicas: Sequence[Backend]) -> Iterator[Balancer]:
    """HAProxy before the replicas; `folder` is for what it writes."""
    port, own = free_port(), free_port()
    file = folder / "haproxy.cfg"
    changes = {"bind :8000": f"bind 127.0.0.1:{port}", "bind :8404": f"bind 127.0.0.1:{own}"} | _addresses(replicas)
    file.write_text(replaced(DOCKER / "haproxy.cfg", changes), encoding="utf-8")
    with process(folder, "haproxy", installed("haproxy"), "-db", "-f", str(file)):
        balancer = Balancer("haproxy", f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own}")
        await_answer(f"{balancer.url}/readyz")
        yield balancer


def _addresses(replicas: Sequence[Backend]) -> dict[str, str]:
    return {f"{replica.name}:8000": f"127.0.0.1:{replica.port}" for replica in replicas}
