"""Asks the service through LangChain: with_langchain.py BASE_URL PICTURES. Prints what it saw as JSON."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI


def about(picture: Path, text: str) -> HumanMessage:
    """A message of a picture and a text."""
    image = {"type": "image", "base64": base64.b64encode(picture.read_bytes()).decode(), "mime_type": "image/png"}
    return HumanMessage(content=[{"type": "text", "text": text}, image])


def conversation(model: ChatOpenAI, pictures: Path) -> list[str]:
    """The answers to a question, to a second about the same picture, and to one about another."""
    answers: list[str] = []
    said: list[BaseMessage] = []
    for message in (
        about(pictures / "blue-square-green-star.png", "what colour is the square?"),
        HumanMessage("what colour is the star?"),
        about(pictures / "red-circle.png", "what colour is the circle?"),
    ):
        said.append(message)
        said.append(model.invoke(said))
        answers.append(str(said[-1].text))
    return answers


def main(base_url: str, pictures: Path) -> dict[str, Any]:
    """What the client saw."""
    asked: dict[str, Any] = {"base_url": base_url, "api_key": "unused", "max_retries": 0}
    answering = ChatOpenAI(model="demo-vqa", **asked)
    captioning = ChatOpenAI(model="demo-captioning:plain", **asked)
    circle = about(pictures / "red-circle.png", "Describe this image.")
    responding = ChatOpenAI(model="demo-vqa", use_responses_api=True, **asked)
    return {
        "answers": conversation(answering, pictures),
        "responses": conversation(responding, pictures),
        "caption": captioning.invoke([circle]).text,
        "pieces": [str(chunk.text) for chunk in captioning.stream([circle])],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
