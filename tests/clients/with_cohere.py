"""Embeds through Cohere's clients: with_cohere.py BASE_URL PICTURES. Prints the cosines it saw as JSON.

Each table has a line a picture and a column a text, in the same order.
"""

import base64
import json
import math
import sys
from pathlib import Path
from typing import Any

import cohere

SHOWN = {
    "red-circle.png": "a large red circle",
    "pink-star.png": "a small pink star",
    "two-purple-squares.png": "two small purple squares",
}


def data_uri(picture: Path) -> str:
    """A picture as Cohere takes it."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def cosines(images: list[list[float]], texts: list[list[float]]) -> list[list[float]]:
    """Of every image with every text."""

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    return [[cosine(image, text) for text in texts] for image in images]


def main(base_url: str, pictures: Path) -> dict[str, Any]:
    """What the clients saw."""
    root = base_url.removesuffix("/v1")
    client = cohere.ClientV2(api_key="unused", base_url=root)
    older = cohere.Client(api_key="unused", base_url=root)

    def embedded(**asked: Any) -> Any:
        return client.embed(model="demo", embedding_types=["float", "int8"], **asked).embeddings

    images, texts = [data_uri(pictures / name) for name in SHOWN], list(SHOWN.values())
    parts = [{"type": "image_url", "image_url": {"url": uri}} for uri in images]
    parts += [{"type": "text", "text": words} for words in texts]
    image = embedded(images=images, input_type="image")
    text = embedded(texts=texts, input_type="search_query")
    both = embedded(inputs=[{"content": [part]} for part in parts], input_type="classification").float_
    first: Any = older.embed(texts=texts, model="demo", input_type="search_query").embeddings
    return {
        "float": cosines(image.float_, text.float_),
        "int8": cosines(image.int8, text.int8),
        "both": cosines(both[: len(images)], both[len(images) :]),
        "older": cosines(image.float_, first),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
