"""Whether a folder's disk has room for what is to be written there."""

import os
import shutil
from pathlib import Path

from rich.filesize import decimal

from blip_serve.errors import CheckpointError


def free_bytes(folder: Path) -> int:
    """What is free on the folder's disk. The folder need not exist, or be one that may be read. Raises `OSError`."""
    folders = (folder.absolute(), *folder.absolute().parents)
    return shutil.disk_usage(next(filter(os.path.exists, folders))).free


def check_room(folder: Path, needed: int) -> None:
    """Raises `CheckpointError` with both numbers if the folder's disk has less than `needed` bytes free; `OSError`."""
    free = free_bytes(folder)
    if needed > free:
        raise CheckpointError(folder, f"{decimal(needed)} are needed on its disk, {decimal(free)} are free")
