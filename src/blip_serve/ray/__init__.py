"""The service on a Ray cluster: `serve deploy configs/ray.yaml`. Needs the extra `ray`."""

from blip_serve.ray.application import build

__all__ = ["build"]
