"""Every relative link in the documents leads to a file and a heading; every path in the architecture page to code."""

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, anchors, links, name, prose

ARCHITECTURE = ROOT / "src" / "blip_serve" / "README.md"
PATH = re.compile(r"`/?([\w./-]+\.py)`")
FOLDERS = (ROOT / "src" / "blip_serve", ROOT)
"""What the paths of the architecture page are relative to."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_file_that_the_architecture_page_names_is_there() -> None:
    named = set(PATH.findall(prose(ARCHITECTURE)))
    assert len(named) > 30
    missing = {path for path in named if not any((folder / path).exists() for folder in FOLDERS)}
    assert not missing


def test_every_document_is_in_the_list() -> None:
    folders = ("configs", "docker", "scripts", "src/blip_serve/api", "tests")
    found = {ROOT / "README.md", ARCHITECTURE, *(file for folder in folders for file in (ROOT / folder).rglob("*.md"))}
    tables = {file for file in found if "results" in file.parts or "checkpoints" in file.parts}
    assert found - tables - {ROOT / "scripts/demo/card_template.md"} <= set(DOCUMENTS)
