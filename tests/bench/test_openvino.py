"""The side of the benchmark that OpenVINO computes, where the extra `bench` is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoints import SMALL, build

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from fastapi.testclient import TestClient

from bench.comparison import FLOAT32, INT8
from bench.pictures import Pictures, captions, data_url
from bench.sides.card import CardMatcher
from bench.sides.openvino_card import OpenVinoMatcher
from bench.sides.openvino_server import app

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    build(folder, SMALL, kind="retrieval", seed=1)
    return folder


@pytest.fixture(scope="module")
def converted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a process of its own, as in the benchmark: OpenVINO's converter warns, and warnings are errors here."""
    out = tmp_path_factory.mktemp("openvino")
    command = [sys.executable, "-m", "bench.sides.openvino_ir", str(checkpoint), str(out)]
    subprocess.run(command, check=True, env={"PYTHONPATH": "scripts:.:src", "OPENVINO_TELEMETRY": "0"})
    return out


@pytest.mark.parametrize(("dtype", "near"), [("float32", FLOAT32), ("int8", INT8)])
def test_scores_are_the_cards(checkpoint: Path, converted: Path, dtype: str, near: float) -> None:
    [picture], texts = Pictures(5).take(1), [*captions(3), *captions(2, words=4)]
    card = CardMatcher(checkpoint, "float32", "cpu")
    peer = OpenVinoMatcher(checkpoint, converted, dtype, "LATENCY")
    wanted = [card.score(picture, text) for text in texts]
    assert peer.score_carefully(picture, texts) == pytest.approx(wanted, abs=near)
    assert [peer.score(picture, text) for text in texts] == pytest.approx(wanted, abs=near)


def test_the_server_answers_as_the_others_do(checkpoint: Path, converted: Path) -> None:
    [picture], [text] = Pictures(6).take(1), captions(1)
    peer = OpenVinoMatcher(checkpoint, converted, "float32", "THROUGHPUT")
    image = data_url(picture).partition(",")[2]
    with TestClient(app(peer)) as client:
        assert client.get("/health").json() == {"status": "ok"}
        answer = client.post("/predict", json={"image": image, "caption": text})
    assert answer.json() == {"score": pytest.approx(peer.score(picture, text), abs=1e-6)}
