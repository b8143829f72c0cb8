"""API keys over HTTP: who is let in, how often, how many at once, to which models, and what is noted of it."""

import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from blip_serve.catalogue import ModelCard
from blip_serve.domain import EVERY_TASK, AnyModel, Task
from blip_serve.keys import MAX_BYTES, change_keys, digest, read_keys
from blip_serve.models.fake import FakeModel
from blip_serve.settings import KeySettings, LogSettings, ModelSettings
from tests.api.test_endpoint import BODIES
from tests.support.asking import IMAGE
from tests.support.redis_server import needs_redis, redis_server
from tests.support.server import FAKE, Service, always, fake_settings, in_threads, sdk, serving, with_key
from tests.support.waiting import wait_until

BODY = {"image": "aGVsbG8=", "caption": "a"}
OTHER = ModelSettings(id="test/other", preload=True)
GOOD = {"authorization": "Bearer right"}
NEEDS: dict[str, tuple[Task, ...]] = {
    "/v1/match": ("match",), "/v1/score": ("match",), "/v1/rerank": ("match",), "/v1/decisions": ("match", "answer"),
    "/v1/embeddings": ("embed",), "/v1/embed": ("embed",), "/v2/embed": ("embed",),
    "/v1/chat/completions": ("caption", "answer"), "/v1/responses": ("caption", "answer"), "/v1/explain": ("explain",),
}  # fmt: skip
"""What a key must be allowed for a path: one of these."""
DEMOS = tuple(ModelSettings(id=f"blip-serve/demo-{name}") for name in ("retrieval", "captioning", "vqa"))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(auth=with_key("right")), always(FakeModel())) as running:
        yield running


def error_of(response: httpx.Response) -> tuple[int, str, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["type"], error["code"], error["param"]


@pytest.mark.parametrize(
    "header", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic right"}, {"authorization": "Bearer"},
               {"authorization": "Bearer clé".encode()}, {"authorization": f"Bearer {digest('right')}"}],
)  # fmt: skip
def test_row44_a_missing_or_wrong_key_is_401(service: Service, header: dict[str, str]) -> None:
    for response in (
        service.client.post("/v1/match", json=BODY, headers=header),
        service.client.get("/v1/models", headers=header),
        service.client.get("/metrics", headers=header),
        service.client.get("/docs", headers=header),
        service.client.get("/openapi.json", headers=header),
        service.client.get("/nothing", headers=header),
    ):
        assert error_of(response) == (401, "authentication_error", "invalid_api_key", None)
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["x-request-id"]
    assert service.client.get("/livez", headers=header).status_code == 200
    assert service.client.get("/readyz", headers=header).status_code == 200
    assert service.client.post("/v1/match", json=BODY, headers=GOOD).status_code == 200


@pytest.mark.parametrize("key", ["right", "other", "wrong"])
def test_row44_a_key_is_compared_with_each_in_constant_time(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    constant = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return constant(one, other)

    keys = tuple({"name": name, "sha256": digest(name)} for name in ("right", "other"))
    with serving(fake_settings(auth={"keys": keys}), always(FakeModel())) as service:
        monkeypatch.setattr(hmac, "compare_digest", compare)
        service.client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
    assert compared == [digest("right"), digest("other")]


def test_a_good_key_opens_everything(service: Service) -> None:
    assert service.client.post("/v1/match", json=BODY, headers=GOOD).status_code == 200
    assert service.client.get("/nothing", headers=GOOD).status_code == 404
    for path in ("/v1/models", "/metrics", "/docs", "/openapi.json"):
        assert service.client.get(path, headers={"authorization": "bearer right"}).status_code == 200
    assert openai.OpenAI(base_url=f"{service.url}/v1", api_key="right").models.list().data


@pytest.mark.parametrize(("access", "status"), [("open", 200), ("key", 401), ("off", 404)])
def test_metrics_and_docs_are_as_open_as_their_settings(access: str, status: int) -> None:
    chosen = fake_settings(auth=with_key("right"), server={"metrics": access, "docs": access})
    with serving(chosen, always(FakeModel())) as service:
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert service.client.get(path, headers={} if status != 404 else GOOD).status_code == status


def test_row44_the_file_s_keys_are_read_again_and_a_broken_file_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.yaml"
    change_keys(file, lambda keys: [KeySettings(name="first", sha256=digest("one"))])
    chosen = fake_settings(auth={"keys_file": file}, log=LogSettings(level="info"))
    with serving(chosen, always(FakeModel())) as service:

        def status(key: str) -> int:
            return service.client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

        assert (status("one"), status("two")) == (200, 401)
        change_keys(file, lambda keys: [*keys, KeySettings(name="second", sha256=digest("two"))])
        wait_until(lambda: status("two") == 200)
        change_keys(file, lambda keys: [key for key in keys if key.name != "first"])
        wait_until(lambda: status("one") == 401)
        told = ""

        def is_told() -> bool:
            nonlocal told
            told += capsys.readouterr().err
            return "keys_not_read" in told

        file.write_text("keys: [{name: third, created: 2026-02-30}]")  # no such day: not every error is YAML's own
        wait_until(is_told)
        assert status("two") == 200
        file.unlink()
        assert status("two") == 200
        change_keys(file, lambda keys: [KeySettings(name="fourth", sha256=digest("four"))])
        wait_until(lambda: status("four") == 200)
        assert status("two") == 401


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "too large"])
def test_row85_what_is_no_file_is_logged_and_revocations_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    file = tmp_path / "keys.yaml"
    change_keys(file, lambda keys: [KeySettings(name="first", sha256=digest("one"))])
    with serving(fake_settings(auth={"keys_file": file}), always(FakeModel())) as service:

        def status(key: str) -> int:
            return service.client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

        told = ""

        def is_told() -> bool:
            nonlocal told
            told += capsys.readouterr().err
            return "keys_not_read" in told

        file.unlink()
        put(kind, file)
        wait_until(is_told)
        assert str(file) in told
        assert status("one") == 200
        remove(file)
        change_keys(file, lambda keys: [KeySettings(name="second", sha256=digest("two"))])
        wait_until(lambda: status("one") == 401)
        assert status("two") == 200


def put(kind: str, file: Path) -> None:
    """Something in the place of a file."""
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as large:
            large.truncate(MAX_BYTES + 1)


def remove(file: Path) -> None:
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink()


def test_a_changed_file_keeps_its_permissions_and_no_trace_of_a_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    change_keys(file, lambda keys: [KeySettings(name="first", sha256=digest("one"))])
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    change_keys(file, lambda keys: [*keys, KeySettings(name="second", sha256=digest("two"), rate="5/minute")])
    assert file.stat().st_mode & 0o777 == 0o640
    assert [key.name for key in read_keys(file)] == ["first", "second"]
    assert not [line for line in file.read_text().splitlines() if "one" in line or "two" in line]


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    file, link = tmp_path / "keys.yaml", tmp_path / "link.yaml"
    change_keys(file, lambda keys: [KeySettings(name="first", sha256=digest("one"))])
    link.symlink_to(file)
    change_keys(link, lambda keys: [])
    assert link.is_symlink()
    assert read_keys(file) == ()


def test_row45_a_rate_is_counted_by_key_and_told_in_headers() -> None:
    keys = ({"name": "slow", "sha256": digest("slow"), "rate": "3/hour"}, {"name": "free", "sha256": digest("free")})
    with serving(fake_settings(auth={"keys": keys}), always(FakeModel())) as service:
        slow, free = {"authorization": "Bearer slow"}, {"authorization": "Bearer free"}
        left = []
        for _ in range(3):
            answer = service.client.post("/v1/match", json=BODY, headers=slow)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit-requests"] == "3"
            assert 0 < float(answer.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 3600
            left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
        assert left == [2, 1, 0]
        refused = service.client.post("/v1/match", json=BODY, headers=slow)
        assert error_of(refused) == (429, "rate_limit_error", "rate_limit_exceeded", None)
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        with sdk(service, "slow") as client, pytest.raises(openai.RateLimitError):
            client.models.list()
        answer = service.client.post("/v1/match", json=BODY, headers=free)
        assert answer.status_code == 200
        assert "x-ratelimit-limit-requests" not in answer.headers


def test_a_rate_s_requests_come_back() -> None:
    with serving(fake_settings(auth=with_key("right", rate="1/second")), always(FakeModel())) as service:
        statuses = {service.client.get("/v1/models", headers=GOOD).status_code for _ in range(20)}
        assert statuses == {200, 429}
        wait_until(lambda: service.client.get("/v1/models", headers=GOOD).status_code == 200)


def test_row45_a_key_s_requests_at_once_are_bounded_and_others_unaffected() -> None:
    model = FakeModel()
    keys = ({"name": "two", "sha256": digest("two"), "concurrency": 2}, {"name": "free", "sha256": digest("free")})
    with serving(fake_settings(auth={"keys": keys}), always(model)) as service:

        def ask(key: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {key}"}
            return httpx.post(f"{service.url}/v1/match", json=BODY, headers=headers, trust_env=False)

        model.open.clear()
        waiting: list[httpx.Response] = []

        def third() -> None:
            wait_until(lambda: service.app.state.telemetry.page().count(b"blip_serve_queue_requests 2.0") == 1)
            waiting.append(ask("two"))
            model.open.set()

        answers = in_threads([lambda: ask("two"), lambda: ask("two"), third])
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        assert error_of(waiting[0]) == (429, "rate_limit_error", "rate_limit_exceeded", None)
        assert waiting[0].headers["retry-after"] == "1"
        assert ask("two").status_code == ask("free").status_code == 200


def test_a_key_reaches_its_models_only() -> None:
    chosen = fake_settings(models=(FAKE, OTHER), auth=with_key("right", models=("test/oth*",)))
    with serving(chosen, always(FakeModel())) as service:
        service.client.headers.update(GOOD)
        refused = service.client.post("/v1/match", json=BODY | {"model": "fake"})
        assert error_of(refused) == (403, "permission_error", "model_not_allowed", "model")
        assert service.client.get("/v1/models/fake").status_code == 403
        assert service.client.post("/v1/match", json=BODY | {"model": "nobody"}).status_code == 404
        assert [model["id"] for model in service.client.get("/v1/models").json()["data"]] == ["test/other"]
        answer = service.client.post("/v1/match", json=BODY)
        assert (answer.status_code, answer.json()["model"]) == (200, "test/other")


def test_a_key_without_any_default_model_is_told_to_name_one() -> None:
    with serving(fake_settings(auth=with_key("right", models=("elsewhere",))), always(FakeModel())) as service:
        refused = service.client.post("/v1/match", json=BODY, headers=GOOD)
        assert error_of(refused) == (403, "permission_error", "model_not_allowed", "model")
        assert service.client.get("/v1/models", headers=GOOD).json()["data"] == []


class Loads:
    """A loader of fakes that do what the model's card says; of a model without a card, captions."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        self.loaded.append(settings.id)
        return FakeModel(*(card.architecture.tasks if card.architecture else ("caption",))), card


@pytest.fixture(scope="module")
def loads() -> Loads:
    return Loads()


@pytest.fixture(scope="module")
def limited(loads: Loads) -> Iterator[Service]:
    """A key for each task, of its name and for it alone; and one for all others, which `but_for` names."""
    keys: list[tuple[str, tuple[Task, ...]]] = [(task, (task,)) for task in EVERY_TASK]
    keys += [(but_for(needs), tuple(task for task in EVERY_TASK if task not in needs)) for needs in {*NEEDS.values()}]
    auth = {"keys": tuple({"name": name, "sha256": digest(name), "tasks": tasks} for name, tasks in keys)}
    models = (*DEMOS, FAKE.model_copy(update={"preload": False}))
    with serving(fake_settings(models=models, auth=auth), loads) as running:
        yield running


def but_for(needs: tuple[Task, ...]) -> str:
    return "all-but-" + "-".join(needs)


def asked(service: Service, key: str, path: str, **more: Any) -> httpx.Response:
    """The answer to the path's body, with `more` fields."""
    return service.client.post(path, json={**BODIES[path], **more}, headers={"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("path", BODIES)
def test_a_key_is_refused_a_task_that_it_may_not_use_before_a_model_is_loaded(
    limited: Service, loads: Loads, path: str
) -> None:
    key, before = but_for(NEEDS[path]), len(loads.loaded)
    for more in ({}, {"model": "fake"}, {"model": DEMOS[0].id, "service_tier": "flex"}):
        assert error_of(asked(limited, key, path, **more)) == (403, "permission_error", "task_not_allowed", None)
    assert asked(limited, key, path, model="nobody").status_code == 404
    assert len(loads.loaded) == before


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_stream_is_refused_a_task_as_well(limited: Service, path: str) -> None:
    refused = asked(limited, but_for(NEEDS[path]), path, stream=True)
    assert error_of(refused) == (403, "permission_error", "task_not_allowed", None)


def test_a_form_is_refused_a_task_as_well(limited: Service) -> None:
    form = {name: (None, value) for name, value in {"image": IMAGE, "caption": "a dog"}.items()}
    refused = limited.client.post("/v1/match", files=form, headers={"authorization": "Bearer embed"})
    assert error_of(refused) == (403, "permission_error", "task_not_allowed", None)


@pytest.mark.parametrize("path", BODIES)
def test_a_key_s_tasks_choose_the_default_model(limited: Service, path: str) -> None:
    models: dict[Task, str] = {"caption": DEMOS[1].id, "answer": DEMOS[2].id}
    for task in NEEDS[path]:
        answer = asked(limited, task, path)
        assert answer.status_code == 200, answer.text
        assert answer.json().get("model", DEMOS[0].id) == models.get(task, DEMOS[0].id)


@pytest.mark.parametrize(
    ("key", "path", "model"),
    [
        ("caption", "/v1/chat/completions", DEMOS[2].id),
        ("answer", "/v1/responses", DEMOS[1].id),
        ("answer", "/v1/responses", f"{DEMOS[1].id}:plain"),
        ("answer", "/v1/decisions", DEMOS[0].id),
        ("answer", "/v1/responses", "fake"),  # what it does is known only when it is loaded
    ],
)
def test_a_model_of_another_task_is_refused_by_name(limited: Service, key: str, path: str, model: str) -> None:
    refused = asked(limited, key, path, model=model)
    assert error_of(refused) == (403, "permission_error", "task_not_allowed", "model")
    assert asked(limited, "embed", "/v1/embed", model=DEMOS[1].id).json()["error"]["code"] == "task_not_supported"


def test_a_key_is_listed_the_models_of_its_tasks(limited: Service) -> None:
    headers = {"authorization": "Bearer caption"}
    listed = [model["id"] for model in limited.client.get("/v1/models", headers=headers).json()["data"]]
    assert listed == [DEMOS[1].id, f"{DEMOS[1].id}:plain", FAKE.id]


def test_what_a_key_used_is_counted_and_its_name_logged(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = fake_settings(auth=with_key("right"), server={"metrics": "open"}, log=LogSettings(level="info"))
    with serving(chosen, always(FakeModel())) as service:
        answer = service.client.post("/v1/match", json=BODY, headers=GOOD).json()
        service.client.post("/v1/match", json=BODY, headers={"authorization": "Bearer wrong"})
        wait_until(lambda: service.metric("key_requests_total", key="tester", status="200") == 1)
        used = {
            kind: service.metric("used_tokens_total", key="tester", kind=kind) for kind in ("image", "text", "cached")
        }
        details = answer["usage"]["prompt_tokens_details"]
        assert used == {
            "image": details["image_tokens"],
            "text": answer["usage"]["prompt_tokens"] - details["image_tokens"],
            "cached": details["cached_tokens"],
        }
        assert service.metric("errors_total", code="invalid_api_key") == 1
    lines = capsys.readouterr().err
    assert "key=tester" in lines
    assert "right" not in lines
    assert "wrong" not in lines


def test_where_redis_is_away_each_replica_counts_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    auth = with_key("right", rate="2/hour") | {"redis_url": "redis://:hidden@127.0.0.1:1/0"}
    with serving(fake_settings(auth=auth), always(FakeModel())) as service:
        statuses = [service.client.get("/v1/models", headers=GOOD).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    told = capsys.readouterr().err
    assert told.count("rates_not_shared") == 1
    assert "hidden" not in told


@needs_redis
def test_replicas_share_a_rate_in_redis() -> None:
    model = FakeModel()
    with redis_server() as url:
        auth = with_key("right", rate="40/hour") | {"redis_url": url}
        with (
            serving(fake_settings(auth=auth), always(model)) as one,
            serving(fake_settings(auth=auth), always(model)) as other,
        ):
            statuses = [service.client.get("/v1/models", headers=GOOD).status_code for service in (one, other) * 30]
    assert statuses == [200] * 40 + [429] * 20
