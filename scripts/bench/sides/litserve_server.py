"""(c): LitServe around the card's model, with LitServe's own batching."""

import argparse
from base64 import b64decode
from pathlib import Path

import litserve

from bench.sides.card import CardMatcher

MAX_BATCH = 16
BATCH_TIMEOUT_S = 0.02


class Matching(litserve.LitAPI):  # type: ignore[misc]  # litserve is untyped
    """Scores pairs, up to 16 in one pass of both towers."""

    def __init__(self, folder: Path, dtype: str) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S)
        self._folder = folder
        self._dtype = dtype

    def setup(self, device: str) -> None:
        """In the process that computes."""
        self._card = CardMatcher(self._folder, self._dtype, device)

    def decode_request(self, request: dict[str, str]) -> tuple[bytes, str]:
        """A request's picture and caption."""
        return b64decode(request["image"]), request["caption"]

    def batch(self, inputs: list[tuple[bytes, str]]) -> list[tuple[bytes, str]]:
        """The pairs as they are: the processor makes tensors of them."""
        return inputs

    def predict(self, pairs: list[tuple[bytes, str]]) -> list[float]:
        """A probability a pair."""
        pictures, captions = zip(*pairs, strict=True)
        return self._card.score_batch(pictures, captions)

    def unbatch(self, output: list[float]) -> list[float]:
        """One by one."""
        return output

    def encode_response(self, output: float) -> dict[str, float]:
        """An answer."""
        return {"score": output}


def main() -> None:
    """Serves one checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    api = Matching(arguments.folder, arguments.dtype)
    server = litserve.LitServer(api, accelerator=arguments.device, devices=1, timeout=600)
    server.run(host="127.0.0.1", port=arguments.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
