"""How much memory the loaded models may hold together, and the image cache of one."""

from blip_serve.models.device import open_device
from blip_serve.settings import MiB, Settings

SHARES = {"cpu": 0.75, "cuda": 0.9}
"""The part of a device's memory that models may hold, where the settings say nothing.

On a CPU the rest is for the process itself (0.5 GB), the steps, and the bodies and pictures of requests; on CUDA for
the steps and CUDA's libraries.
"""
CACHE_BYTES = 1024 * MiB
CACHES = 16
"""As many image caches fill the budget, where the settings say nothing: weights come first."""


def budget(settings: Settings) -> int:
    """Bytes for all models' weights, slots and caches. Raises `ConfigurationError` if the device is missing."""
    if settings.memory.budget_bytes is not None:
        return settings.memory.budget_bytes
    device = open_device(settings)
    return int(device.room * SHARES[device.kind.type])


def cache_limits(settings: Settings) -> tuple[int, int]:
    """Bytes of token embeddings and of vectors that a model keeps."""
    tokens = settings.images.cache_tokens_bytes
    if tokens is None:
        tokens = min(CACHE_BYTES, budget(settings) // CACHES)
    return tokens, settings.images.cache_vectors_bytes
