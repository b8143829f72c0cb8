"""The example notebooks: they run from the first cell to the last, show pictures, and are kept without outputs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.results import Page
from tests.support.documents import ROOT, text_of

NOTEBOOKS = sorted((ROOT / "scripts" / "examples").glob("*.ipynb"))


def code_of(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    for cell in code_of(json.loads(text_of(path))):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.full
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_pictures(path: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient  # beside a kernel: only for those who run it
    from nbformat import read

    notebook = read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output["data"] for cell in code_of(notebook) for output in cell["outputs"] if "data" in output]
    pages = [Page(data["text/html"]) for data in shown if "text/html" in data]
    assert len(pages) >= 3
    assert all(page.pictures for page in pages)
