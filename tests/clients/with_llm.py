"""Asks the service through the command `llm`: with_llm.py BASE_URL PICTURES. Prints what it saw as JSON."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "llm")
MODELS = """
- {{model_id: answers, model_name: demo-vqa, api_base: "{base_url}", vision: true}}
- {{model_id: captions, model_name: "demo-captioning:plain", api_base: "{base_url}", vision: true}}
"""


def llm(folder: Path, *arguments: str) -> str:
    """What the command prints, with its settings and its log in a folder."""
    told = os.environ | {"LLM_USER_PATH": str(folder)}
    done = subprocess.run(
        [COMMAND, *arguments], env=told, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def main(base_url: str, pictures: Path) -> dict[str, Any]:
    """What the client saw."""
    shapes, circle = str(pictures / "blue-square-green-star.png"), str(pictures / "red-circle.png")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "extra-openai-models.yaml").write_text(MODELS.format(base_url=base_url))
        return {
            "answers": [
                llm(folder, "-m", "answers", "what colour is the square?", "-a", shapes),
                llm(folder, "-c", "what colour is the star?"),
                llm(folder, "-c", "what colour is the circle?", "-a", circle),
            ],
            "caption": llm(folder, "-m", "captions", "Describe this image.", "-a", circle, "--no-stream"),
            "pieces": [llm(folder, "-m", "captions", "Describe this image.", "-s", "Be brief.", "-a", circle)],
        }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
