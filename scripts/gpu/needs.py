"""What must be installed where the script runs, and how it is carried there. Imports nothing that may be missing."""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEAST_PYTHON = (3, 11)
LEAST_TORCH = (2, 11)
MODULES = {
    "PIL": "pillow",
    "annotated_doc": "annotated-doc",
    "annotated_types": "annotated-types",
    "anyio": "anyio",
    "certifi": "certifi",
    "click": "click",
    "deprecated": "deprecated",
    "dotenv": "python-dotenv",
    "fastapi": "fastapi",
    "filelock": "filelock",
    "h11": "h11",
    "httpcore": "httpcore",
    "httpcore2": "httpcore2",
    "httptools": "httptools",
    "httpx": "httpx",
    "httpx2": "httpx2",
    "huggingface_hub": "huggingface_hub",
    "idna": "idna",
    "iniconfig": "iniconfig",
    "limits": "limits",
    "markdown_it": "markdown-it-py",
    "mdurl": "mdurl",
    "numpy": "numpy",
    "opentelemetry": "opentelemetry-api",
    "packaging": "packaging",
    "pluggy": "pluggy",
    "prometheus_client": "prometheus_client",
    "pybase64": "pybase64",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic_core",
    "pydantic_settings": "pydantic-settings",
    "pygments": "Pygments",
    "pytest": "pytest",
    "pytest_timeout": "pytest-timeout",
    "python_multipart": "python-multipart",
    "regex": "regex",
    "rich": "rich",
    "safetensors": "safetensors",
    "shellingham": "shellingham",
    "starlette": "starlette",
    "structlog": "structlog",
    "tokenizers": "tokenizers",
    "tqdm": "tqdm",
    "transformers": "transformers",
    "truststore": "truststore",
    "typer": "typer",
    "typing_extensions": "typing_extensions",
    "typing_inspection": "typing-inspection",
    "uvicorn": "uvicorn",
    "uvloop": "uvloop",
    "wrapt": "wrapt",
    "yaml": "PyYAML",
}
"""Modules that the tests, the benchmark and what they import need besides torch, and the distributions they are in."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")


def missing() -> list[str]:
    """Distributions that are not there. Raises `SystemExit` where Python or torch is too old, or torch not there."""
    if sys.version_info < LEAST_PYTHON:
        raise SystemExit(f"Python {'.'.join(map(str, LEAST_PYTHON))} or newer is needed, this is {sys.version}")
    if find_spec("torch") is None:
        raise SystemExit(f"torch is not there: {sys.executable} is not the interpreter that has it; set PYTHON=")
    found = tuple(map(int, re.findall(r"\d+", version("torch"))[:2]))
    if found < LEAST_TORCH:
        raise SystemExit(f"torch {'.'.join(map(str, LEAST_TORCH))} or newer is needed, this is {version('torch')}")
    return [name for module, name in MODULES.items() if find_spec(module) is None]


def download(names: Iterable[str], python: str) -> str:
    """The command that fetches wheels of `names`, as pinned, for CPython `python` ("3.12") on Linux x86-64."""
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "configs" / "constraints.txt").read_text(), re.MULTILINE))
    platforms = " ".join(f"--platform {name}" for name in PLATFORMS)
    wanted = " ".join(f"{name}=={pins[name]}" for name in names)
    return (
        "python3 -m pip download --no-deps --only-binary=:all: "
        f"--implementation cp --python-version {python} {platforms} --dest wheels {wanted}"
    )
