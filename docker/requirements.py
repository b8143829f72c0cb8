"""Prints what a pyproject.toml requires, and its extras named after it, a line each: a layer without the project itself."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = [requirement for extra in sys.argv[2:] for requirement in project["optional-dependencies"][extra]]
print("\n".join([*project["dependencies"], *extras]))
