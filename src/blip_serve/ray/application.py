"""The Ray Serve application: one deployment for HTTP and one for each model. Each has its own replicas."""

from typing import Any

from ray import serve
from ray.serve import Application

from blip_serve.errors import ConfigurationError
from blip_serve.ray.gateway import Gateway
from blip_serve.ray.replica import Replica
from blip_serve.settings import AuthSettings, ModelSettings, Settings

AT_ONCE = 64
"""Requests that a model's replica gets at once. Its engine batches them."""


def build(args: dict[str, Any]) -> Application:
    """The application for `args`, the service's settings. Serves only `models`, not the rest of the catalogue.

    The numbers of replicas set here are defaults. `deployments` in Serve's configuration overrides them.

    Raises `ConfigurationError` that names the key.
    """
    settings = Settings.of(args).model_copy(update={"catalogue": False})
    if not (settings.auth.asks or settings.auth.no_auth):
        raise ConfigurationError(
            "auth: a cluster's ports can be called by others: set auth.keys or auth.keys_file, or say that anyone may "
            "call with auth.no_auth"
        )
    replicas = {model.id: _replica(settings, model) for model in settings.models}
    return serve.deployment(
        Gateway,
        name="gateway",
        autoscaling_config={"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 2 * AT_ONCE},
        max_ongoing_requests=settings.server.max_connections,
        max_queued_requests=settings.server.max_connections,
        graceful_shutdown_timeout_s=settings.server.drain_timeout_s,
    ).bind(settings, replicas)


def deployment_name(model: str) -> str:
    """The name of a model's deployment: `org--name`, as in the hub's cache. Ray uses it in file names."""
    return model.replace("/", "--")


def _replica(settings: Settings, model: ModelSettings) -> Application:
    """The deployment of one model. With `preload` it always has a replica; else the first request starts one."""
    alone = settings.model_copy(
        update={
            "models": (model.model_copy(update={"preload": True}),),
            "default_model": None,
            "auth": AuthSettings(),  # the gateway checks the keys, so replicas need not know them
        }
    )
    return serve.deployment(
        Replica,
        name=deployment_name(model.id),
        autoscaling_config={
            "min_replicas": int(model.preload),
            "max_replicas": 4,
            "target_ongoing_requests": AT_ONCE // 4,
        },
        max_ongoing_requests=AT_ONCE,
        max_queued_requests=settings.server.max_connections,
        graceful_shutdown_timeout_s=settings.server.drain_timeout_s,
        ray_actor_options={"num_cpus": 1, "num_gpus": int(settings.device == "cuda")},
    ).bind(alone)
