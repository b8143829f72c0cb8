"""The documents of the repository, and what they are made of: code blocks, links and headings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        ".github/SECURITY.md",
        "configs/README.md",
        "docker/README.md",
        "docker/helm/README.md",
        "scripts/bench/README.md",
        "scripts/bulk/README.md",
        "scripts/eval/README.md",
        "scripts/explain/README.md",
        "scripts/gpu/README.md",
        "scripts/scoreboard/README.md",
        "src/blip_serve/README.md",
        "src/blip_serve/api/README.md",
        "src/blip_serve/jobs/README.md",
        "src/blip_serve/jobs/evaluation/README.md",
        "tests/README.md",
    )
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name(document: Path) -> str:
    """The document's path in the repository."""
    return document.relative_to(ROOT).as_posix()


def text_of(document: Path) -> str:
    """The document's text."""
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    """The document's code blocks of a language."""
    return [code for found, code in BLOCK.findall(text_of(document)) if found == language]


def prose(document: Path) -> str:
    """The document without its code blocks."""
    return BLOCK.sub("", text_of(document))


def anchors(document: Path) -> set[str]:
    """What its headings are called in links, by GitHub's rule: lower case, spaces to hyphens, no punctuation."""
    headings = HEADING.findall(prose(document))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[str]:
    """Where its links and images lead."""
    return LINK.findall(prose(document))
