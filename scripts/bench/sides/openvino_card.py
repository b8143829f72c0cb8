"""(o): what a user of CPUs takes for speed, OpenVINO on the checkpoint that `openvino_ir` converted.

From a JPEG file's bytes to the answer, prepared by transformers' own processor as in `card`.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import openvino as ov
from transformers import BlipProcessor

from bench.sides.card import opened

Hint = Literal["LATENCY", "THROUGHPUT"]
"""OpenVINO's performance hints, which its documentation prefers to settings by hand: an inference by all cores, or as
many at once as it finds best (two on two cores, each by one)."""
PRECISIONS = {"float32": {"INFERENCE_PRECISION_HINT": "f32"}, "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"}}
"""Of products. OpenVINO chooses bfloat16 itself where the CPU multiplies it, as it may beside int8."""


class OpenVinoMatcher:
    """Pairs scored by two compiled graphs, by as many threads at once as the hint allows for; others wait."""

    def __init__(self, folder: Path, converted: Path, dtype: str, hint: Hint) -> None:
        """`converted`: what `openvino_ir.convert` wrote. `dtype`: float32, bfloat16 or int8."""
        config: dict[str, Any] = {"PERFORMANCE_HINT": hint, **PRECISIONS.get(dtype, {})}
        core = ov.Core()
        core.set_property({"CACHE_DIR": str(converted / "compiled")})
        kind = "-int8" if dtype == "int8" else ""
        vision, text = (
            core.compile_model(str(converted / f"{name}{kind}.xml"), "CPU", config) for name in ("vision", "text")
        )
        self._idle: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        for _ in range(vision.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")):
            self._idle.put((vision.create_infer_request(), text.create_infer_request()))
        self._processor: Any = BlipProcessor.from_pretrained(folder)
        self._tokenizing = threading.Lock()  # a tokenizer that is being set up refuses a second thread

    def score(self, picture: bytes, caption: str) -> float:
        """The probability that they match."""
        return self.score_carefully(picture, [caption])[0]

    def score_carefully(self, picture: bytes, captions: Sequence[str]) -> list[float]:
        """The picture is encoded once, and stands beside all captions in one batch."""
        pixels = self._processor.image_processor(opened(picture), return_tensors="np")["pixel_values"]
        with self._tokenizing:
            words = self._processor.tokenizer(list(captions), padding=True, return_tensors="np")
        with self._requests() as (vision, text):
            tokens = vision.infer([pixels])[0]
            logits = text.infer([words["input_ids"], words["attention_mask"], tokens])[0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: list[float] = (powers[:, 1] / powers.sum(axis=1)).tolist()
        return found

    def image_tokens(self, pixels: Any) -> Any:
        """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D), both float32 arrays of NumPy's."""
        with self._requests() as (vision, _):
            return vision.infer([pixels])[0]

    def seconds(self, pixels: Any) -> float:
        """Of `image_tokens`, without what it takes to bring arrays into this process."""
        started = time.perf_counter()
        self.image_tokens(pixels)
        return time.perf_counter() - started

    @contextmanager
    def _requests(self) -> Iterator[tuple[Any, Any]]:
        """Infer requests of both graphs, for one thread."""
        requests = self._idle.get()
        try:
            yield requests
        finally:
            self._idle.put(requests)
