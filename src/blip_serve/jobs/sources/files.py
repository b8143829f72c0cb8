"""Opens the files of a data set, by path or by URL. Says which schemes may be named; knows no formats.

Only the command line may name a scheme. What stands inside a data set never reaches fsspec as a URL.
"""

import io
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.sources.storage import RemoteFile, os_errors

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
"""The package that fsspec needs for a scheme."""

_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]*):(?://|:)", re.IGNORECASE | re.ASCII)
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_GLOB = re.compile(r"[*?\[]")


def scheme_of(text: str) -> str | None:
    """The scheme of a URL, or of a chain of URLs such as `filecache::s3://...`. `None` for a path."""
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def place(given: str) -> str:
    """A path or a URL of the command line, checked. A `file` URL becomes a path.

    Raises `ConfigurationError` for a scheme that is not read, and for one whose package is missing.
    """
    scheme = scheme_of(given)
    if scheme is None:
        return given
    if "::" in given or scheme not in ("file", *PACKAGES):
        raise ConfigurationError(f"{given}: give a path, or a URL of one of {', '.join(('file', *PACKAGES))}")
    if scheme == "file":
        return given.partition("://")[2] or "/"
    _system(given)
    return given


def open_file(path: str) -> BinaryIO:
    """A regular file, for reading. Never waits for the writer of a pipe.

    Raises `OSError`, also for what is no regular file. At a URL, all errors of the file's methods are `OSError` too.
    """
    if scheme_of(path):
        return io.BufferedReader(RemoteFile(_ask(path, "open", "rb"), path))
    descriptor = os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "not a regular file", path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def size_of(path: str) -> int:
    """Bytes of a file. Raises `OSError`."""
    return int(_ask(path, "size") or 0) if scheme_of(path) else os.stat(path).st_size


def state_of(path: str) -> str:
    """The size of a file and when it was changed, to tell it from a changed one. Raises `OSError`."""
    if scheme_of(path):
        about = _ask(path, "info")
        mark = next((about[name] for name in ("ETag", "etag", "LastModified", "updated", "mtime") if name in about), "")
        return f"{about['size']} bytes, {mark}"
    about = os.stat(path)
    return f"{about.st_size} bytes, changed at {about.st_mtime_ns}"


def is_folder(path: str) -> bool:
    """Whether there is a folder at a path or a URL."""
    return bool(_ask(path, "isdir")) if scheme_of(path) else os.path.isdir(path)


def expanded(path: str) -> list[str]:
    """The files that a pattern such as `data/*.jsonl` stands for, sorted by name; or the path itself.

    Raises `ConfigurationError` if there is nothing there.
    """
    if scheme_of(path):
        scheme = path.partition("://")[0]
        found = [f"{scheme}://{each.lstrip('/')}" for each in _ask(path, "glob")] if _GLOB.search(path) else [path]
    elif os.path.lexists(path):
        found = [path]
    else:
        found = glob(path, recursive=True) if _GLOB.search(path) else []
    if not found:
        raise ConfigurationError(f"{path}: there is no such file or folder")
    return sorted(found)


def real(folder: str) -> str:
    """A folder's path without links. A URL stays as it is."""
    return folder if scheme_of(folder) else os.path.realpath(folder)


def folder_of(paths: Sequence[str]) -> str:
    """The nearest folder that all of `paths` are in."""
    if any(scheme_of(path) for path in paths):
        folders = [path.rpartition("/")[0] for path in paths]
        return posixpath.commonprefix([f"{each}/" for each in folders]).rpartition("/")[0]
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])


def below(folder: str, path: str) -> str:
    """The name of a file below `folder`, with `/` between its parts."""
    if scheme_of(path):
        return path.removeprefix(folder).lstrip("/")
    return Path(os.path.relpath(os.path.abspath(path), folder)).as_posix()


def listed(url: str) -> Iterator[str]:
    """The files below a folder at a URL, sorted by name."""
    scheme = url.partition("://")[0]
    for folder, folders, names in _ask(url, "walk"):
        folders.sort()
        yield from (f"{scheme}://{folder.strip('/')}/{name}" for name in sorted(names))


def _ask(url: str, method: str, *arguments: str) -> Any:
    with os_errors(url):
        return getattr(_system(url), method)(url, *arguments)


def _system(url: str) -> Any:
    scheme = str(scheme_of(url))
    try:
        return import_module("fsspec").filesystem(scheme)
    except ImportError:
        package = PACKAGES.get(scheme, "fsspec")
        raise ConfigurationError(f"{url}: {scheme} needs the package {package}: pip install {package}") from None
