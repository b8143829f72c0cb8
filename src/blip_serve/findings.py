"""What was found out about checkpoints on this machine, one small file each. Kept apart from the checkpoints."""

import platform
import re
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blip_serve import __version__
from blip_serve.durable import as_name, write_file

Kind = Literal["doctor", "evaluation", "calibration", "fit"]
Figure = bool | int | float | str | None

MOST = 64
"""Findings of a model that are read."""
MAX_BYTES = 64 * 1024
"""Size of a finding's file. A larger one is none of ours."""


class Finding(BaseModel):
    """What one command measured of a model. A later finding of the same kind, name and number type replaces it.

    `name`: what was measured, such as `retrieval`. `digest`: of the checkpoint (`models/digests.py`). `machine`: its
    processor. `made`: Unix seconds. `figures`: by their names, as a person reads them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str = Field(min_length=1, max_length=100)
    model: str = Field(min_length=1)
    digest: str
    dtype: str
    machine: str
    figures: dict[str, Figure]
    made: int = Field(default_factory=lambda: int(time.time()))
    version: str = __version__


def machine() -> str:
    """This machine's processor in words."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return " / ".join(sorted(names)) or platform.machine()


class Findings:
    """The findings in a folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "findings"

    def keep(self, finding: Finding) -> Path:
        """Writes a finding durably. Returns its file. Raises `OSError`."""
        file = self._of(finding.model) / f"{finding.kind}-{_slug(finding.name)}-{_slug(finding.dtype)}.json"
        write_file(file, finding.model_dump_json(indent=2).encode() + b"\n")
        return file

    def of(self, model: str) -> list[Finding]:
        """A model's findings, the newest first. Files that cannot be read, or hold something else, are left out."""
        try:
            files = sorted(self._of(model).glob("*.json"))[:MOST]
        except OSError:  # such as a folder that this user may not enter
            return []
        found = [finding for file in files if (finding := _read(file)) and finding.model == model]
        return sorted(found, key=lambda finding: finding.made, reverse=True)

    def _of(self, model: str) -> Path:
        return self._folder / as_name(model)  # no name of a model is a path


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _read(file: Path) -> Finding | None:
    try:
        if not file.is_file() or file.stat().st_size > MAX_BYTES:
            return None
        return Finding.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
