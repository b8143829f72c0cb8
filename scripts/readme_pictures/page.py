"""`playground.png`: the page at `/` in a real Chromium, with the heat of a word over the picture."""

import io
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from playwright.sync_api import sync_playwright

SAMPLE, WORD = "orange-cross-black-circle.png", "orange"
SIZE = {"width": 1100, "height": 800}
WAIT_MS = 60_000


def draw() -> Image.Image:
    """The page of a server started for it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: scripts/deploy/install.sh browser")
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu"], chromium_sandbox=False)
        page = browser.new_page(viewport=SIZE, reduced_motion="reduce")
        page.set_default_timeout(WAIT_MS)
        page.goto(address)
        page.locator(f".samples button[data-url$='{SAMPLE}']").click()
        page.wait_for_load_state("networkidle")
        page.locator(".words button", has_text=WORD).first.hover()
        page.locator("canvas.shown").wait_for()
        page.wait_for_load_state("networkidle")
        taken = page.screenshot(full_page=True)
        browser.close()
    return Image.open(io.BytesIO(taken)).convert("RGB")


@contextmanager
def served() -> Iterator[str]:
    """The address of a server with the demonstration checkpoints, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "blip_serve", "serve", "--port", str(port), "--no-auth"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:  # its log, until it says that it serves
            if "curl" in line:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()
