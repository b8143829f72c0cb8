"""An assertion on the error that a test expects."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blip_serve.errors import InvalidInput

_LEAKS = ("pillow", "pil.", "httpx", "httpcore", "traceback", "errno", "127.0.0.1", "secret", "/usr", "error(")


@contextmanager
def refused(code: str, param: str = "images[1]") -> Iterator[None]:
    """Expects an `InvalidInput` with `code` and `param`. Its message must not reveal internals."""
    with pytest.raises(InvalidInput) as caught:
        yield
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.message.endswith(".")
    assert not [leak for leak in _LEAKS if leak in caught.value.message.lower()]
