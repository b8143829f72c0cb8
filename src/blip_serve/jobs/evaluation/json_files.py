"""Reads a data set's JSON file whole, within a bound, and checks its shape."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from blip_serve.errors import ConfigurationError

T = TypeVar("T")

MAX_BYTES = 512 * 1024 * 1024
"""Of a file. That of all of COCO's captions has 144 MB, those of VQA have 160 MB."""


def read_json(file: Path, shape: TypeAdapter[T], words: str) -> T:
    """What the file holds. `words`: what it should hold, for people.

    Raises `ConfigurationError` if it cannot be read, is larger than `MAX_BYTES`, or holds something else.
    """
    try:
        if file.exists() and not file.is_file():
            raise ConfigurationError(f"{file}: not a regular file")  # reading a FIFO or a device may never end
        if file.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{file}: it is larger than {MAX_BYTES:,} bytes")
        return shape.validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        fault = max(faults, key=lambda fault: len(fault["loc"]))  # of several shapes the one that comes nearest
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise ConfigurationError(f"{file}: it is not {words}: {place}: {fault['msg']}") from None
