"""`python -m readme_pictures`: draws the README's pictures into `.github/`.

Run it as `PYTHONPATH=scripts .venv/bin/python -m readme_pictures`. It needs the font DejaVu Sans,
the extra `browser`, and a Chromium.
"""

from pathlib import Path

from readme_pictures import heat, page

FOLDER = Path(__file__).parents[2] / ".github"
PICTURES = {"heat.png": heat.draw, "playground.png": page.draw}
"""Each picture's file, and what draws it."""


def main() -> None:
    """Draws them all."""
    for name, draw in PICTURES.items():
        draw().quantize(256, kmeans=2).save(FOLDER / name, optimize=True)  # a third of the same in RGB
        print(f"{FOLDER / name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
