"""Asks the service through pydantic-ai: with_pydantic_ai.py BASE_URL PICTURES. Prints what it saw as JSON."""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, BinaryContent, ImageUrl
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


async def main(base_url: str, pictures: Path) -> dict[str, Any]:
    """What the client saw."""
    provider = OpenAIProvider(base_url=base_url, api_key="unused")
    answering = Agent(OpenAIChatModel("demo-vqa", provider=provider))
    captioning = Agent(OpenAIChatModel("demo-captioning:plain", provider=provider), instructions="Be brief.")
    circle = (pictures / "red-circle.png").read_bytes()
    binary = BinaryContent(circle, media_type="image/png")
    url = ImageUrl("data:image/png;base64," + base64.b64encode(circle).decode(), media_type="image/png")

    shapes = BinaryContent((pictures / "blue-square-green-star.png").read_bytes(), media_type="image/png")
    first = await answering.run(["what colour is the square?", shapes])
    second = await answering.run("what colour is the star?", message_history=first.all_messages())
    third = await answering.run(["what colour is the circle?", url], message_history=second.all_messages())
    caption = await captioning.run(["Describe this image.", binary])
    async with captioning.run_stream(["Describe this image.", binary]) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
    return {
        "answers": [first.output, second.output, third.output],
        "caption": caption.output,
        "pieces": pieces,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2])))))
