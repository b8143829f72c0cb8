"""blip-serve: an OpenAI-compatible HTTP inference service for the BLIP family of vision-language models."""

from importlib.metadata import version

__version__ = version("blip-serve")
