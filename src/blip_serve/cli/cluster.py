"""Finds what runs on a Ray cluster. Ray is imported only then: it is the extra `ray`."""

import os
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Protocol, cast

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.run import Segments

CLUSTER = "blip_serve.ray.bulk:cluster"
LOCAL = "local"
"""The address of a cluster that is started here, on loopback."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ENABLE_AUTO_CONNECT": "0"}
OF_LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's word for one machine: only so its ports bind to loopback
    "RAY_worker_niceness": "0",  # else any other process goes before the actors
}


class Cluster(Protocol):
    """What processes segments while inside. See `blip_serve.ray.bulk.cluster`."""

    def __call__(self, *args: object) -> AbstractContextManager[Segments]: ...


def find_cluster(address: str) -> Cluster:
    """Imports Ray as it shall run at this address, unless its own variables say otherwise. It reads them only then.

    Raises `ConfigurationError` where Ray is not installed.
    """
    os.environ.update({**QUIET, **(OF_LOCAL if address == LOCAL else {}), **os.environ})
    module, _, name = CLUSTER.partition(":")
    try:
        return cast(Cluster, getattr(import_module(module), name))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("ray", "pyarrow"):
            raise
        raise ConfigurationError("--ray needs the extra `ray`: pip install 'blip-serve[ray]'") from None
