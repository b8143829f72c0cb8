"""Imports point down only, inside a layer they make no circle, and what needs no torch imports none."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "blip_serve"
LAYERS = ["allocator", "lazily", "threads", "heat", "durable", "stages", "domain", "errors", "hosts", "memory", "cores",
          "settings", "tracing", "telemetry", "fair_threads", "keys", "findings", "fit", "calibration", "architectures",
          "catalogue", "directory", "images", "engine", "models", "loading", "resident", "residents", "registry",
          "tasks", "jobs", "remote", "notebook", "in_process", "doctor", "api", "cli", "ray"]  # fmt: skip
FORBIDDEN = {"engine": {"images", "models", "catalogue"}, "images": {"catalogue", "telemetry"}, "models": {"engine"}}
"""Beyond the order of the layers: `engine` knows no model, `models` know no engine."""


def imported(file: Path) -> set[str]:
    """The layers a file imports, at its top or anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("blip_serve."):
            found.add(node.module.split(".")[1])
    return found


def modules_imported(file: Path) -> set[str]:
    """The package's modules that a file imports, at its top, under `TYPE_CHECKING` or anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "blip_serve":
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def without_leaves(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Takes modules that import no other out of `graph` again and again: circles stay, and what imports them."""
    while leaves := {module for module, others in graph.items() if not others}:
        graph = {module: others - leaves for module, others in graph.items() if module not in leaves}
    return graph


def files() -> list[Path]:
    return sorted(file for file in PACKAGE.rglob("*.py") if file.name not in ("__init__.py", "__main__.py"))


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down_only(file: Path) -> None:
    layer = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other in imported(file) - {layer}:
        low, high = sorted((layer, other), key=LAYERS.index)
        assert (low, high) == (other, layer) or {layer, other} <= {"domain", "errors", "settings"}, other
        assert other not in FORBIDDEN.get(layer, set())


@pytest.mark.parametrize("layer", LAYERS)
def test_inside_a_layer_imports_make_no_circle(layer: str) -> None:
    names = {
        ".".join(["blip_serve", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): file
        for file in [PACKAGE / f"{layer}.py", *(PACKAGE / layer).rglob("*.py")]
        if file.exists()
    }
    circles = without_leaves({name: (modules_imported(file) & names.keys()) - {name} for name, file in names.items()})
    assert not circles


def test_no_import_stands_inside_a_function() -> None:
    for file in files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert not any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node)), file


@pytest.mark.parametrize("module", ["blip_serve.api.app", "blip_serve.cli", "blip_serve.models.fake"])
def test_importing_needs_no_torch_no_transformers_and_no_tracer(module: str) -> None:
    heavy = {"torch", "transformers", "opentelemetry.sdk", "blip_serve.tracing"}
    code = f"import {module}, sys; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
