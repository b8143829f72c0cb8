"""blip-serve: an OpenAI-compatible HTTP inference service for the BLIP family of vision-language models.

`BlipServe` is the same service as a Python object; it is imported when it is first asked for.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blip_serve.in_process import AsyncBlipServe as AsyncBlipServe
    from blip_serve.in_process import BlipServe as BlipServe
    from blip_serve.tasks.questions import choice as choice
    from blip_serve.tasks.questions import predicate as predicate
    from blip_serve.tasks.questions import scale as scale

__version__ = version("blip-serve")
__all__ = ["AsyncBlipServe", "BlipServe", "__version__", "choice", "predicate", "scale"]

_FOUND_IN = {
    "AsyncBlipServe": "blip_serve.in_process",
    "BlipServe": "blip_serve.in_process",
    "choice": "blip_serve.tasks.questions",
    "predicate": "blip_serve.tasks.questions",
    "scale": "blip_serve.tasks.questions",
}


def __getattr__(name: str) -> Any:
    """A name of the interface, from the module that has it."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module 'blip_serve' has no attribute '{name}'")
    return getattr(import_module(_FOUND_IN[name]), name)
