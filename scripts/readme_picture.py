"""Draws the README's picture: a demonstration picture beside what `blip-serve match` prints about it.

`.venv/bin/python scripts/readme_picture.py` runs the command and writes `.github/match.png`. It needs the font DejaVu
Sans Mono.
"""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "src" / "blip_serve" / "checkpoints" / "pictures"
NAME = "red-circle.png"
CAPTIONS = ["a large red circle", "a small red circle", "a large blue circle", "a green star"]
COLUMNS = 100
SIZE, LINE, PAD, SHOWN = 20, 23, 28, 250
INK, GROUND, FAINT, BEST = "#e6e6e6", "#1c1f24", "#8b949e", "#7ee787"


def printed() -> list[str]:
    """The lines of the command's table, without its blank ones."""
    arguments = [part for caption in CAPTIONS for part in ("--caption", caption)]
    done = subprocess.run(
        [sys.executable, "-m", "blip_serve", "match", NAME, *arguments],
        check=True, capture_output=True, text=True, cwd=PICTURES, env=os.environ | {"COLUMNS": str(COLUMNS)},
    )  # fmt: skip
    return [line.rstrip() for line in done.stdout.splitlines() if line.strip()]


def asked() -> list[str]:
    """The command as a person types it."""
    lines = [f"$ blip-serve match {NAME} \\", *(f'    --caption "{caption}" \\' for caption in CAPTIONS)]
    lines[-1] = lines[-1].removesuffix(" \\")
    return lines


def main() -> None:
    font = ImageFont.truetype("DejaVuSansMono.ttf", SIZE)
    lines = [*asked(), "", *printed()]
    left = PAD + SHOWN + PAD
    width = left + round(max(font.getlength(line) for line in lines)) + PAD
    height = max(LINE * len(lines), SHOWN) + 2 * PAD
    drawn = Image.new("RGB", (width, height), GROUND)
    with Image.open(PICTURES / NAME) as picture:
        shown = picture.convert("RGB").resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    drawn.paste(shown, (PAD, (height - SHOWN) // 2))
    pen = ImageDraw.Draw(drawn)
    for i, line in enumerate(lines):
        colour = FAINT if i < len(asked()) else BEST if "best" in line else INK
        pen.text((left, PAD + LINE * i), line, font=font, fill=colour)
    drawn.quantize(64).save(ROOT / ".github" / "match.png", optimize=True)


if __name__ == "__main__":
    main()
