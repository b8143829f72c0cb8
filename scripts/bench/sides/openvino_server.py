"""(o) behind FastAPI as in (b), but for what OpenVINO is good at: its streams take requests at the same time."""

import argparse
from base64 import b64decode
from pathlib import Path
from typing import get_args

import uvicorn
from fastapi import FastAPI

from bench.sides.fastapi_server import Pair
from bench.sides.openvino_card import Hint, OpenVinoMatcher


def app(matcher: OpenVinoMatcher) -> FastAPI:
    """Scores pairs, in threads of FastAPI's."""
    server = FastAPI()

    @server.post("/predict")
    def predict(pair: Pair) -> dict[str, float]:
        return {"score": matcher.score(b64decode(pair.image), pair.caption)}

    @server.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return server


def main() -> None:
    """Serves one checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("converted", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", choices=["cpu"], default="cpu")
    parser.add_argument("--hint", choices=get_args(Hint), default="THROUGHPUT")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    matcher = OpenVinoMatcher(arguments.folder, arguments.converted, arguments.dtype, arguments.hint)
    uvicorn.run(app(matcher), port=arguments.port, access_log=False)


if __name__ == "__main__":
    main()
