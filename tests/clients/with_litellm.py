"""Asks the service through LiteLLM: with_litellm.py BASE_URL PICTURES. Prints what it saw as JSON."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import litellm

RANKED = ("pink-star.png", "red-circle.png", "blue-square-green-star.png")


def data_uri(picture: Path) -> str:
    """A picture as LiteLLM takes it."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def about(picture: Path, text: str) -> dict[str, Any]:
    """A message of a picture and a text."""
    image = {"type": "image_url", "image_url": {"url": data_uri(picture)}}
    return {"role": "user", "content": [{"type": "text", "text": text}, image]}


def conversation(pictures: Path, **asked: Any) -> list[str]:
    """The answers to a question, to a second about the same picture, and to one about another."""
    answers: list[str] = []
    said: list[Any] = []
    for message in (
        about(pictures / "blue-square-green-star.png", "what colour is the square?"),
        {"role": "user", "content": "what colour is the star?"},
        about(pictures / "red-circle.png", "what colour is the circle?"),
    ):
        said.append(message)
        said.append(litellm.completion(model="openai/demo-vqa", messages=said, **asked).choices[0].message)
        answers.append(said[-1].content)
    return answers


def ranking(provider: str, root: str, pictures: Path, **more: Any) -> list[tuple[int, float, str | None]]:
    """The best two of three pictures by one provider's interface: index, score, the picture's file."""
    documents = [data_uri(pictures / name) for name in RANKED]
    answer = litellm.rerank(
        model=f"{provider}/demo", query="a large red circle", documents=documents, top_n=2,
        api_base=root, api_key="unused", **more,
    )  # fmt: skip
    files = {None: None} | dict(zip(documents, RANKED, strict=True))
    return [
        (result["index"], result["relevance_score"], files[result.get("document", {}).get("text")])
        for result in answer.results
    ]


def main(base_url: str, pictures: Path) -> dict[str, Any]:
    """What the client saw."""
    asked: dict[str, Any] = {"api_base": base_url, "api_key": "unused", "num_retries": 0}
    told = {"model": "openai/demo-captioning:plain", **asked}
    circle = [about(pictures / "red-circle.png", "Describe this image.")]
    stream = litellm.completion(messages=circle, stream=True, **told)
    root = base_url.removesuffix("/v1")
    return {
        "answers": conversation(pictures, **asked),
        "caption": litellm.completion(messages=circle, **told).choices[0].message.content,
        "pieces": [chunk.choices[0].delta.content or "" for chunk in stream],
        "rankings": {
            provider: ranking(provider, root, pictures)
            for provider in ("jina_ai", "cohere", "hosted_vllm", "together_ai")
        },
        # It takes each document back as a bare string, where the other four take `{"text": ...}`.
        "infinity": ranking("infinity", root, pictures, return_documents=False),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
