"""Only the device thread computes.

A second thread that multiplies anything large gets threads of its own from libgomp. With more of them than cores all
wait for one another by sleeping, and a vision tower takes a fifth longer, for as long as that thread lives.
"""

import os
import threading
from pathlib import Path

import pytest

from blip_serve.settings import ModelSettings
from tests.support.checkpoints import BASE, build
from tests.support.pictures import data_uri, picture
from tests.support.server import serving, settings

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


def test_no_request_makes_another_thread_compute(tmp_path: Path) -> None:
    model = ModelSettings(id="test/base", source=str(build(tmp_path / "base", BASE, seed=3)), preload=True)
    images = [data_uri(picture(seed, 3000, 2000)) for seed in range(2)]
    captions = [f"a photograph of {count} people on a beach" for count in range(200)]
    with serving(settings(models=(model,))) as service:
        before = native_threads()
        for path, body in (
            ("/v1/match", {"images": images, "captions": captions[:20], "scores": ["itm", "cosine"]}),
            ("/v1/match", {"images": images, "captions": captions, "scores": ["cosine"]}),
            ("/v1/embeddings", {"input": [*images, *captions]}),
            ("/v1/rerank", {"query": captions[0], "documents": images}),
        ):
            answer = service.client.post(path, json=body, timeout=120)
            assert answer.status_code == 200, answer.text
        assert native_threads() == before


def native_threads() -> int:
    """Threads of this process that are not Python's."""
    return len(os.listdir("/proc/self/task")) - threading.active_count()
