"""The errors of storages at URLs, and files there whose errors are `OSError`."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blip_serve.errors import ConfigurationError


class StorageFailed(OSError):
    """A storage at a URL failed, in a way that may pass: it is not that a file is missing, or not allowed."""


@contextmanager
def os_errors(url: str) -> Iterator[None]:
    """Each storage has classes of its own for errors. Makes an `OSError` of any: `StorageFailed`, if it may pass."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ConfigurationError):
        raise
    except Exception as error:
        raise StorageFailed(None, f"{type(error).__name__}: {error}", url) from error


class RemoteFile(io.RawIOBase):
    """A file of a storage, whose errors are `OSError`."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads bytes into `buffer`; as many as there are, if these are fewer."""
        with os_errors(self._url):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Where reading goes on."""
        with os_errors(self._url):
            return int(self._file.seek(offset, whence))

    def close(self) -> None:
        """Closes the storage's file too."""
        if not self.closed:
            super().close()
            with os_errors(self._url):
                self._file.close()
