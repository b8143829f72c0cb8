"""Reads what bulk runs write with Hugging Face `datasets`: with_datasets.py LOADER FOLDER_OR_FILE. Prints it as JSON.

A picture is shown as its size. The types of the columns are `datasets`' own.
"""

import json
import sys
from pathlib import Path
from typing import Any

from datasets import load_dataset
from PIL import Image


def shown(value: Any) -> Any:
    """A value as JSON holds it."""
    return list(value.size) if isinstance(value, Image.Image) else value


def main(loader: str, given: Path) -> dict[str, Any]:
    """The columns' types, and the rows."""
    where = {"data_dir": str(given)} if given.is_dir() else {"data_files": str(given)}
    rows: Any = load_dataset(loader, split="train", **where)
    types = {name: getattr(kind, "dtype", None) or repr(kind) for name, kind in rows.features.items()}
    return {"types": types, "rows": [{name: shown(value) for name, value in row.items()} for row in rows]}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
