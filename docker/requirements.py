"""Prints what a pyproject.toml requires, with the extras named: for a layer that holds all but the project itself."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = [requirement for extra in sys.argv[2:] for requirement in project["optional-dependencies"][extra]]
print("\n".join([*project["dependencies"], *extras]))
