"""Asks the service through llama-index: with_llama_index.py BASE_URL PICTURES. Prints what it saw as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike


def about(picture: Path, text: str) -> ChatMessage:
    """A message of a picture and a text."""
    return ChatMessage(role="user", blocks=[TextBlock(text=text), ImageBlock(path=picture)])


def conversation(model: OpenAILike, pictures: Path) -> list[str | None]:
    """The answers to a question, to a second about the same picture, and to one about another."""
    answers: list[str | None] = []
    said: list[ChatMessage] = []
    for message in (
        about(pictures / "blue-square-green-star.png", "what colour is the square?"),
        ChatMessage(role="user", content="what colour is the star?"),
        about(pictures / "red-circle.png", "what colour is the circle?"),
    ):
        said.append(message)
        said.append(model.chat(said).message)
        answers.append(said[-1].content)
    return answers


def main(base_url: str, pictures: Path) -> dict[str, Any]:
    """What the client saw."""
    asked: dict[str, Any] = {
        "api_base": base_url, "api_key": "unused", "is_chat_model": True, "max_tokens": 1024, "max_retries": 0,
    }  # fmt: skip
    captioning = OpenAILike(model="demo-captioning:plain", **asked)
    circle = [about(pictures / "red-circle.png", "Describe this image.")]
    return {
        "answers": conversation(OpenAILike(model="demo-vqa", **asked), pictures),
        "caption": captioning.chat(circle).message.content,
        "pieces": [chunk.delta or "" for chunk in captioning.stream_chat(circle)],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
