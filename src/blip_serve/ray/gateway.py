"""A replica that speaks HTTP: the application as elsewhere, its tasks being those of the models' deployments."""

from collections.abc import Mapping
from functools import partial

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from blip_serve.api.app import create_app
from blip_serve.ray.remote import open_remote
from blip_serve.settings import Settings


@serve.ingress()
class Gateway:
    """Holds no model, and no torch."""

    def __init__(self, settings: Settings, replicas: Mapping[str, DeploymentHandle]) -> None:
        """`replicas`: the deployment of each model, by its id."""
        self._settings = settings
        self._replicas = replicas

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, as Serve asks for it once this replica is made."""
        return create_app(self._settings, partial(open_remote, replicas=self._replicas))
