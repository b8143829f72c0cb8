"""The playground in a real Chromium: from a warm server to the first score, what it weighs, and whom it asks."""

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

from scoreboard.board import Board

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response  # of the extra `browser`, which the other parts do without

PART = "page"
FLAGS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run")
VISITS, QUICK_VISITS = 7, 3
MOST_MS = 2000
"""Ours, for a machine that has other work too; alone it takes a fraction."""
MOST_BYTES = 150_000
SAMPLES = "/samples/"
"""In the paths of pictures to try, which weigh beside the page."""
SHOWN = """
() => {
  const number = document.querySelector(".bar[aria-label=ITM]:not(.unknown) .number");
  return number && performance.now();
}
"""
"""Milliseconds from the start of the navigation to the first ITM number; asked before each frame is drawn."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit with an empty cache: milliseconds to the first score, bytes of the page and beside it, other hosts."""

    ms: float
    page_bytes: int
    sample_bytes: int
    others: tuple[str, ...]


def run(board: Board) -> None:
    """With the embedded checkpoints. The first visit is not counted: after it server and Chromium are warm."""
    chromium = _chromium()
    if chromium is None:
        board.add(PART, "in a browser", "Chromium and playwright", "not run: no Chromium", False)
        return

    from playwright.sync_api import sync_playwright

    count = QUICK_VISITS if board.quick else VISITS
    with board.serve(PART, {}) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, chromium_sandbox=False)
        _, *visits = [_visit(browser, server.url) for _ in range(1 + count)]
        browser.close()
    times = [visit.ms for visit in visits]
    seen = f"{median(times):.0f} ms (median of {count}: {min(times):.0f} to {max(times):.0f})"
    board.add(PART, "from a warm server to the first score, demo", f"<= {MOST_MS} ms", seen, median(times) <= MOST_MS)
    heaviest = max(visits, key=lambda visit: visit.page_bytes)
    seen = f"{heaviest.page_bytes:,} bytes (its samples: {heaviest.sample_bytes:,} beside)"
    board.add(PART, "weight of the page", f"<= {MOST_BYTES:,} bytes", seen, heaviest.page_bytes <= MOST_BYTES)
    others = sorted({url for visit in visits for url in visit.others})
    board.add(PART, "requests to other hosts", "0", f"{len(others)} {others[:3] or ''}".rstrip(), not others)


def _chromium() -> str | None:
    """The distribution's Chromium; none where it or what drives it is not installed."""
    return shutil.which("chromium") if find_spec("playwright") else None


def _visit(browser: "Browser", url: str) -> Visit:
    """As a visitor who comes for the first time."""
    answers: list[Response] = []
    asked: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: answers.append(answer))
    page.goto(url)
    ms = page.wait_for_function(SHOWN).json_value()
    page.wait_for_load_state("networkidle")
    files = [answer for answer in answers if answer.url == f"{url}/" or answer.url.startswith(f"{url}/playground/")]
    weights = {answer.url: len(answer.body()) for answer in files}
    context.close()
    samples = sum(weight for each, weight in weights.items() if SAMPLES in each)
    others = tuple(each for each in asked if not each.startswith((f"{url}/", "blob:", "data:")))
    return Visit(ms, sum(weights.values()) - samples, samples, others)
