"""Files of settings and figures, and where the checkpoints are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

CHECKPOINTS = Path(__file__).resolve().parents[2] / "src" / "blip_serve" / "checkpoints"


def write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
