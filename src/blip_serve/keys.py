"""API keys: the file of their digests, and the ring that finds a key by its digest."""

import asyncio
import hmac
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pydantic import Field, ValidationError, model_validator

from blip_serve.errors import ConfigurationError
from blip_serve.settings import AuthSettings, KeySettings, MiB, Section, explain, read_yaml
from blip_serve.telemetry import Telemetry

PREFIX = "blip-"
LOOK_S = 1.0
"""Seconds between two looks at the file."""
LOCK_S = 10.0
MAX_BYTES = 4 * MiB
"""Some 20,000 keys."""
HEADER = "# API keys of blip-serve: their SHA-256, not the keys. `blip-serve keys` changes this file.\n"


class KeyFile(Section):
    """What the file holds."""

    keys: tuple[KeySettings, ...] = Field((), description="the keys")

    @model_validator(mode="after")
    def _names_are_unique(self) -> "KeyFile":
        names = [key.name for key in self.keys]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} is named more than once")
        return self


def new_key() -> str:
    """A key of 256 random bits. A digest of so many needs no salt and no stretching: nobody can guess what it is of."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is stored of a key."""
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(file: Path) -> tuple[KeySettings, ...]:
    """The file's keys. Raises `ConfigurationError` naming the file and the entry at fault."""
    try:
        return KeyFile.model_validate(read_yaml(file, _text)).keys
    except ValidationError as error:
        raise ConfigurationError(explain(error, file)) from None


def _text(file: Path) -> str:
    """A regular file's text.

    Raises `ConfigurationError` for other kinds of files, and large ones: reading a FIFO may wait forever, reading a
    device may never end, and opening a device may have effects.
    """
    _refuse_irregular(file, os.stat(file))
    with open(file, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as opened:
        _refuse_irregular(file, os.fstat(opened.fileno()))  # it may have been replaced
        return opened.read()


def _refuse_irregular(file: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{file}: not a regular file")
    if found.st_size > MAX_BYTES:
        raise ConfigurationError(f"{file}: larger than {MAX_BYTES} bytes")


def change_keys(file: Path, change: Callable[[tuple[KeySettings, ...]], Sequence[KeySettings]]) -> None:
    """Replaces the file's keys by what `change` returns for them. A missing file holds none, and is made.

    A reader finds the old file or the new one, whole, with the same owner and permissions. A file that is made can be
    read by its owner only.

    Raises `ConfigurationError` where it cannot be read or written, or another process is changing it for too long.
    """
    file = file.resolve()  # a link stays one
    new = file.with_name(f".{file.name}.new")
    if not file.parent.is_dir():
        raise ConfigurationError(f"{file.parent}: no such folder")
    try:
        with FileLock(file.with_name(f".{file.name}.lock"), timeout=LOCK_S, mode=0o600):
            found = KeyFile(keys=tuple(change(read_keys(file) if file.exists() else ())))
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(HEADER + yaml.safe_dump(_plain(found), sort_keys=False))
                out.flush()
                os.fsync(out.fileno())
            if file.exists():
                owner = file.stat()
                shutil.copymode(file, new)
                if (os.geteuid(), os.getegid()) != (owner.st_uid, owner.st_gid):
                    os.chown(new, owner.st_uid, owner.st_gid)
            new.replace(file)
    except Timeout:
        raise ConfigurationError(f"{file}: being changed by another command") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


class KeyRing:
    """The keys there are now."""

    def __init__(self, settings: AuthSettings, telemetry: Telemetry) -> None:
        """Raises `ConfigurationError` for a file that cannot be used."""
        self._settings = settings
        self._telemetry = telemetry
        self._seen = _stamp(settings.keys_file)
        self._keys = self._read()

    def find(self, key: str) -> KeySettings | None:
        """The entry of `key`. Every digest is compared, in constant time, so that the time taken tells nothing."""
        given = digest(key)
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.sha256, given):
                found = known
        return found

    async def watch(self) -> None:
        """Reads the file again when it has changed. Where that fails, the keys stay as they are until it succeeds."""
        told, file = "", self._settings.keys_file
        while file is not None:
            await asyncio.sleep(LOOK_S)
            stamp = await asyncio.to_thread(_stamp, file)
            if stamp == self._seen:
                continue
            try:
                self._keys = await asyncio.to_thread(self._read)
            except Exception as error:  # nobody else would notice that keys are no longer revoked
                if str(error) != told:
                    self._telemetry.log.error("keys_not_read", reason=str(error), kept=len(self._keys))
                told = str(error)
            else:
                self._seen, told = stamp, ""
                log = self._telemetry.log.info if self._keys else self._telemetry.log.warning
                log("keys_read", keys=len(self._keys))

    def _read(self) -> tuple[KeySettings, ...]:
        file = self._settings.keys_file
        try:
            return KeyFile(keys=(*self._settings.keys, *(read_keys(file) if file else ()))).keys
        except ValidationError as error:
            raise ConfigurationError(explain(error, file or Path("auth.keys"))) from None


def _stamp(file: Path | None) -> tuple[int, ...]:
    """Values that change when the file does."""
    try:
        found = os.stat(file) if file else None
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino) if found else ()


def _plain(found: KeyFile) -> dict[str, Any]:
    return {"keys": [key.model_dump(mode="json", exclude_defaults=True) for key in found.keys]}
