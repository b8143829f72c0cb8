"""Rows 51 to 54, 86, 87: a device that dies, lacks memory or gives no numbers; checkpoints that break, or hang."""

import itertools
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch

from blip_serve.catalogue import EMBEDDED, ModelCard
from blip_serve.domain import AnyModel
from blip_serve.errors import OutOfMemory
from blip_serve.loading import CheckpointLoader
from blip_serve.models.captioner import Captioner
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.settings import DEMO, DEMO_CAPTIONS, ModelSettings
from blip_serve.telemetry import Telemetry
from tests.support.checkpoints import build
from tests.support.damage import (
    RAN,
    Damage,
    code_in_a_pickle,
    code_in_an_archive,
    edit,
    edit_weights,
    pickled,
    truncate,
)
from tests.support.errors import check
from tests.support.loading import load, load_matcher
from tests.support.making import Making
from tests.support.pictures import data_uri, picture
from tests.support.server import FAKE, QUIET, Service, always, fake_settings, in_threads, serving, settings
from tests.support.waiting import WAIT_S, wait_until
from tests.threats.cases import GOOD, IMAGE, MESSAGES, check_serves_on
from tests.threats.dying import FATAL_CAPTIONS

FATAL: dict[str, object] = {"image": IMAGE, "captions": [f"caption {i}" for i in range(FATAL_CAPTIONS)]}


@contextmanager
def dying() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process of the service whose device thread can be killed, and where it is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.threats.dying", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _status(url) == 200)
        yield process, url
    finally:
        process.kill()
        process.wait(WAIT_S)


def _status(url: str) -> int:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code
    except httpx.TransportError:
        return 0


def test_row51_every_waiter_is_told_and_the_process_ends_for_its_supervisor_to_restart() -> None:
    with dying() as (process, url):
        bodies = [FATAL, *[GOOD] * 5]
        answers = in_threads(
            [lambda body=body: httpx.post(f"{url}/v1/match", json=body, timeout=WAIT_S) for body in bodies]  # type: ignore[misc]
        )
        for answer in answers:
            if answer.status_code != 200:  # those whose step ended before the fatal one
                check(answer, 503, "unavailable", None)
        check(answers[0], 503, "unavailable", None)
        assert process.wait(WAIT_S) == 1


def test_row51_a_dead_device_is_not_ready_and_takes_no_more() -> None:
    dying = False

    def die(works: Sequence[FakeWork]) -> None:
        if dying:
            raise SystemExit

    with serving(fake_settings(), always(FakeModel(on_launch=die))) as service:
        dying = True
        check(service.client.post("/v1/match", json=GOOD), 503, "unavailable", None)
        ready = service.client.get("/readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["the device thread has died"])
        check(service.client.post("/v1/match", json=GOOD), 503, "unavailable", None)


@dataclass
class Memory:
    """A device on which steps of more works than `room` fail for want of memory, and any step of a `hungry` cost."""

    room: int = 100
    hungry: int = -1

    def check(self, works: Sequence[FakeWork]) -> None:
        if len(works) > self.room or any(work.cost == self.hungry for work in works):
            raise OutOfMemory("The device is out of memory.", retry_after=5)


def together(service: Service, model: FakeModel, bodies: Sequence[dict[str, object]]) -> list[httpx.Response]:
    """The answers to requests whose works wait for the device together."""
    model.open.clear()
    answers: list[list[httpx.Response]] = []
    url = f"{service.url}/v1/match"
    asking = threading.Thread(
        target=lambda: answers.append(
            in_threads([lambda body=body: httpx.post(url, json=body, timeout=WAIT_S) for body in bodies])  # type: ignore[misc]
        )
    )
    asking.start()
    wait_until(lambda: service.metric("queue_requests") == len(bodies))
    model.open.set()
    asking.join(WAIT_S)
    return answers[0]


def test_row52_a_batch_without_memory_is_split_and_answered() -> None:
    memory = Memory(room=1)
    model = FakeModel(on_launch=memory.check)
    with serving(fake_settings(), always(model)) as service:
        answers = together(service, model, [GOOD] * 4)
        assert [answer.status_code for answer in answers] == [200] * 4
        assert max(map(len, model.steps)) > 1
        check_serves_on(service)


def test_row52_what_has_no_memory_alone_is_503_and_its_neighbours_are_unharmed() -> None:
    memory = Memory(hungry=FATAL_CAPTIONS)
    model = FakeModel(on_launch=memory.check)
    with serving(fake_settings(), always(model)) as service:
        hungry, *others = together(service, model, [FATAL, *[GOOD] * 4])
        check(hungry, 503, "out_of_memory", None)
        assert 0 < int(hungry.headers["retry-after"]) <= 120
        assert [answer.status_code for answer in others] == [200] * 4
        assert service.client.get("/readyz").status_code == 200
        check_serves_on(service)


JSON = {"content-type": "application/json"}
SEEDS = itertools.count(1000)


@dataclass
class Weights:
    """Two real models, the service of them, and a number in each that can be spoilt."""

    service: Service
    spoilt: Sequence[torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Iterator[Weights]:
    matcher = load_matcher(EMBEDDED / "demo-retrieval")
    captioner = load(Captioner, EMBEDDED / "demo-captioning")
    models: dict[str, AnyModel] = {DEMO.id: matcher, DEMO_CAPTIONS.id: captioner}

    def chosen(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        return models[settings.id], card

    spoilt = [
        matcher.network.vision_model.embeddings.class_embedding,
        captioner.network.vision_model.embeddings.class_embedding,
    ]
    with serving(settings(models=(DEMO, DEMO_CAPTIONS)), chosen) as service:
        yield Weights(service, spoilt)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/v1/match", GOOD, id="row53-match"),
        pytest.param("/v1/match", GOOD | {"scores": ["cosine"]}, id="row53-cosine"),
        pytest.param("/v1/embeddings", {"input": {"image": IMAGE}}, id="row53-embeddings"),
        pytest.param("/v1/rerank", {"query": "a", "documents": [{"image": IMAGE}]}, id="row53-rerank"),
        pytest.param("/v1/score", {"queries": "a", "documents": {"image": IMAGE}}, id="row53-score"),
        pytest.param("/v1/chat/completions", {"messages": MESSAGES}, id="row53-chat"),
        pytest.param("/v1/chat/completions", {"messages": MESSAGES, "num_beams": 3}, id="row53-beams"),
    ],
)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_none(weights: Weights, path: str, body: dict[str, object], value: float) -> None:
    sound = [tensor.clone() for tensor in weights.spoilt]
    before = weights.service.metric("errors_total", code="not_finite")
    unseen = data_uri(picture(next(SEEDS)))  # what is known of the others is sound
    content = json.dumps(body).replace(IMAGE, unseen)
    for tensor in weights.spoilt:
        tensor.fill_(value)
    try:
        answer = weights.service.client.post(path, content=content, headers=JSON)
    finally:
        for tensor, whole in zip(weights.spoilt, sound, strict=True):
            tensor.copy_(whole)
    check(answer, 500, "not_finite", None)
    assert answer.headers["x-should-retry"] == "false"
    assert weights.service.metric("errors_total", code="not_finite") == before + 1
    again = weights.service.client.post(path, content=content, headers=JSON)
    assert again.status_code == 200  # nothing of it was kept
    check_serves_on(weights.service)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("checkpoint"))


BROKEN: dict[str, tuple[Damage, str]] = {
    "row54-folder missing": (shutil.rmtree, "no such folder"),
    "row54-configuration missing": (lambda folder: (folder / "config.json").unlink(), "config.json: No such file"),
    "row54-weights missing": (lambda folder: (folder / "model.safetensors").unlink(), "holds neither"),
    "row54-weights truncated": (truncate("model.safetensors"), "model.safetensors: not readable"),
    "row54-configuration truncated": (truncate("config.json"), "config.json: not JSON"),
    "row54-wrong shape": (
        edit_weights(lambda state: state.update({"itm_head.bias": torch.zeros(3)})),
        "model.safetensors: itm_head.bias is (3,)",
    ),
    "row54-pickle with code": (pickled(code_in_a_pickle), "pytorch_model.bin: refused"),
    "row54-archive with code": (code_in_an_archive, "pytorch_model.bin: refused"),
    "row87-complex weights": (
        edit_weights(lambda state: state.update({"itm_head.bias": torch.zeros(2, dtype=torch.complex64)})),
        "model.safetensors: itm_head.bias is of complex64",
    ),
    "row87-integer weights": (
        edit_weights(lambda state: state.update({"itm_head.bias": torch.zeros(2, dtype=torch.int64)})),
        "model.safetensors: itm_head.bias is of int64",
    ),
    "row87-NaN weights": (
        edit_weights(lambda state: state["text_encoder.embeddings.word_embeddings.weight"][-1].fill_(torch.nan)),
        "model.safetensors: text_encoder.embeddings.word_embeddings.weight holds NaN",
    ),
    "row87-configuration nested deep": (
        lambda folder: (folder / "config.json").write_text('{"a":' * 100_000),
        "config.json: not JSON that can be read: nested too deep",
    ),
    "row87-sizes beyond memory": (
        edit("config.json", lambda content: content.update(image_text_hidden_size=10**15)),
        "config.json: its sizes take ",
    ),
    "row87-duplicate vocabulary": (
        lambda folder: (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "dog\n"),
        "vocab.txt: 'dog' stands in the vocabulary 2 times",
    ),
    "row54-pickle of nothing": (pickled(lambda: b""), "pytorch_model.bin"),
}


@pytest.mark.parametrize(("damage", "reason"), BROKEN.values(), ids=BROKEN)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_broken_checkpoints(
    sound: Path, tmp_path: Path, damage: Damage, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(sound, folder)
    damage(folder)
    broken = ModelSettings(id="test/broken", source=str(folder), aliases=("broken",))
    chosen = fake_settings(models=(FAKE, broken))
    real = CheckpointLoader(chosen, Telemetry(QUIET))

    def loaded(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        return (FakeModel(), card) if settings.id == FAKE.id else real.find(settings, card).load()

    with serving(chosen, Making(loaded)) as service:
        answer = service.client.post("/v1/match", json=GOOD | {"model": "broken"})
        check(answer, 503, "load_failed", None)
        assert answer.headers["x-should-retry"] == "false"
        page = service.client.get("/v1/models/test/broken")
        assert page.json()["state"] == "failed"
        assert reason in page.json()["error"]
        assert str(tmp_path) not in page.text
        assert service.client.get("/readyz").status_code == 200
        check_serves_on(service)
    logged = capfd.readouterr().err
    assert reason in logged
    assert str(folder) in logged
    assert RAN == []


def test_row86_a_load_that_hangs_leaves_its_place_to_others() -> None:
    hanging = threading.Event()
    slow, other = (ModelSettings(id=f"test/{name}") for name in ("slow", "other"))
    chosen = fake_settings(models=(FAKE, slow, other), load_timeout_s=2)

    def loaded(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        assert settings.id != slow.id or hanging.wait(WAIT_S)
        return FakeModel(), card

    with serving(chosen, Making(loaded, size=10, budget=20)) as service:  # the preloaded, and one
        try:
            check(service.client.post("/v1/match", json=GOOD | {"model": "slow"}), 503, "load_failed", None)
            page = service.client.get("/v1/models/test/slow").json()
            assert (page["state"], page["error"]) == ("failed", "its load did not end within 2 s")
            assert service.client.post("/v1/match", json=GOOD | {"model": "other"}).status_code == 200
            check_serves_on(service)
        finally:
            hanging.set()
