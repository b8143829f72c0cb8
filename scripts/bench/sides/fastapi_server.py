"""(b): a small server of the kind people write, FastAPI around the card's code: one request at a time."""

import argparse
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.sides.card import CardCaptioner, CardMatcher


class Pair(BaseModel):
    """A picture as base64, and a caption."""

    image: str
    caption: str


class Picture(BaseModel):
    """A picture as base64, to be written about."""

    image: str
    tokens: int
    beams: int


def matching_app(folder: Path, dtype: str, device: str) -> FastAPI:
    """Scores pairs."""
    app, card = FastAPI(), CardMatcher(folder, dtype, device)

    @app.post("/predict")
    async def predict(pair: Pair) -> dict[str, float]:
        return {"score": card.score(b64decode(pair.image), pair.caption)}

    return app


def captioning_app(folder: Path, dtype: str, device: str) -> FastAPI:
    """Writes captions."""
    app, card = FastAPI(), CardCaptioner(folder, dtype, device)

    @app.post("/predict")
    async def predict(picture: Picture) -> dict[str, str]:
        return {"caption": card.caption(b64decode(picture.image), picture.tokens, picture.beams)}

    return app


APPS: dict[str, Callable[[Path, str, str], FastAPI]] = {"match": matching_app, "caption": captioning_app}


def main() -> None:
    """Serves one checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", choices=APPS)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    app = APPS[arguments.task](arguments.folder, arguments.dtype, arguments.device)
    app.add_api_route("/health", lambda: {"status": "ok"})
    uvicorn.run(app, port=arguments.port, access_log=False)


if __name__ == "__main__":
    main()
