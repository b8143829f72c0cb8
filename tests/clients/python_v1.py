"""Asks the service through an old openai package: python_v1.py BASE_URL IMAGE. Prints what it saw as JSON."""

import json
import sys
from typing import Any

import openai


def main(base_url: str, image: str) -> dict[str, Any]:
    """What the client saw."""
    client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0)
    part = {"type": "image_url", "image_url": {"url": image}}
    asked: dict[str, Any] = {
        "model": "fake",
        "messages": [{"role": "user", "content": [part, {"type": "text", "text": "a photo of"}]}],
    }
    seen: dict[str, Any] = {"version": openai.__version__}
    seen["chat"] = [choice.message.content for choice in client.chat.completions.create(**asked, n=2).choices]
    stream = client.chat.completions.create(**asked, stream=True)
    seen["pieces"] = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    try:
        client.chat.completions.create(**asked, n=100)
    except openai.BadRequestError as error:
        told = error.response.json()["error"]  # the first releases find no `code` and no `param` in it themselves
        seen["error"] = [True, error.status_code, told["code"], told["param"]]
    seen["models"] = [model.id for model in client.models.list().data]
    return seen


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
