"""What is logged of a request: one line, whatever the request holds, and none of its secrets."""

import errno
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from blip_serve.api.match import MatchBody
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.settings import LogSettings
from blip_serve.telemetry import LibraryLog, make_log
from tests.support.raw import exchange
from tests.support.server import Service, always, fake_settings, serving

GOOD = {"image": "aGVsbG8=", "caption": "a"}
SECRET = "canary"


def lines(err: str) -> list[str]:
    return [line for line in err.splitlines() if "] request " in line]


def secret_requests(service: Service) -> None:
    """Requests that hold the secret wherever a client may put one: answered, refused, and failed."""
    key = {"authorization": f"Bearer sk-{SECRET}", f"x-{SECRET}": f"{SECRET}", "user-agent": SECRET, "cookie": SECRET}
    bodies: list[Any] = [
        GOOD | {"caption": f"{SECRET}\nforged line \x1b[31m\u202e\u2028"},
        GOOD | {"caption": SECRET, "model": f"{SECRET}\nforged"},
        GOOD | {"image": f"https://user:{SECRET}@10.0.0.1/{SECRET}?key={SECRET}"},
        GOOD | {"image": f"http://{SECRET}.invalid/?key={SECRET}"},
        GOOD | {"image": SECRET + "!"},
        GOOD | {SECRET: SECRET},
        GOOD | {"caption": {SECRET: SECRET}},
        GOOD | {"caption": f"fail {SECRET}"},
    ]
    for body in bodies:
        service.client.post(f"/v1/match?key={SECRET}", json=body, headers=key)
    service.client.post("/v1/match", files={SECRET: (SECRET, SECRET.encode())}, data={SECRET: SECRET}, headers=key)
    service.client.post("/v1/chat/completions", json={"messages": [{"role": SECRET, "content": SECRET}]}, headers=key)
    service.client.get(f"/{SECRET}%0Aforged?key={SECRET}", headers=key)
    service.client.get(f"/v1/models/{SECRET}", headers=key)
    service.client.get("/livez", headers={"x-request-id": f"{SECRET} forged", "x-forwarded-for": SECRET})
    exchange(service.url, f"GET /{SECRET} {SECRET}\r\n\r\n".encode())
    exchange(service.url, b"GET /nothing?\xff%ff HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")


def failing() -> FakeModel:
    """A model whose fourth step, and any later one, fails."""
    steps = 0

    def fail(works: Sequence[FakeWork]) -> None:
        nonlocal steps
        steps += 1
        if steps > 3:
            raise RuntimeError("ours\nforged line\x1b[31m")

    return FakeModel(on_launch=fail)


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_of_a_request_is_logged_and_each_line_is_one(capfd: pytest.CaptureFixture[str], form: str) -> None:
    with serving(fake_settings(log={"level": "debug", "format": form}), always(failing())) as service:
        secret_requests(service)
        service.client.post("/v1/match", json=GOOD)
    logged = capfd.readouterr().err
    assert "step_failed" in logged
    assert SECRET not in logged
    assert "\x1b" not in logged
    if form == "json":
        assert {json.loads(line)["event"] for line in logged.splitlines()} >= {"request", "step_failed", "model_ready"}
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\dT|    ", line) for line in logged.splitlines())
        assert len(lines(logged)) > 12


def test_a_request_is_logged_with_its_client_its_stages_and_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(fake_settings(log={"level": "info", "format": "json"}), always(FakeModel())) as service:
        service.client.post("/v1/match", json=GOOD, headers={"x-request-id": "mine"})
        service.client.post("/v1/match", json=GOOD | {"caption": ""})
        service.client.get("/nothing")
    parsed = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    scored, refused, unknown = (line for line in parsed if line["event"] == "request")
    assert (scored["id"], scored["client"], scored["route"], scored["status"]) == (
        "mine",
        "127.0.0.1",
        "/v1/match",
        200,
    )
    assert {"fetch_ms", "decode_ms", "queue_ms", "device_ms"} < scored.keys()
    assert "code" not in scored
    assert (refused["code"], refused["status"]) == ("empty_input", 400)
    assert (unknown["code"], unknown["route"]) == ("not_found", "unmatched")


class Full(io.StringIO):
    """A log on a disk without room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(sys, "stderr", Full())
        log = {"level": "debug", "format": "json"}
        with serving(fake_settings(log=log), always(failing())) as service:
            statuses = [service.client.post("/v1/match", json=GOOD).status_code for _ in range(3)]
            assert statuses == [500] * 3  # by the failing step, not by what could not be said of it
            assert service.client.get("/readyz").status_code == 200


def test_a_refusal_of_pydantics_shows_no_input() -> None:
    """Where one is raised by mistake, its text is logged."""
    with pytest.raises(ValidationError) as refused:
        MatchBody.model_validate({"image": [SECRET], "caption": {"a": SECRET}})
    assert SECRET not in str(refused.value)


def log_of(emit: Callable[[logging.Logger], None], form: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What is written of what a library logs."""
    logger = logging.Logger("a.library")
    logger.addHandler(LibraryLog(make_log(LogSettings.model_validate({"format": form}))))
    emit(logger)
    return capfd.readouterr().err


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_libraries_log_is_a_line_of_ours(capfd: pytest.CaptureFixture[str], form: str) -> None:
    logged = log_of(lambda logger: logger.warning("two\nlines \x1b[31m%s", "x"), form, capfd)
    assert logged.count("\n") == 1
    assert "a.library" in logged
    assert "\x1b" not in logged
    if form == "json":
        assert json.loads(logged)["level"] == "warning"


def test_a_traceback_of_a_library_is_written_and_cannot_pass_for_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    def emit(logger: logging.Logger) -> None:
        try:
            raise ValueError("first\n2026-01-01T00:00:00 [info] request forged")
        except ValueError:
            logger.exception("failed")

    first, *others = log_of(emit, "console", capfd).splitlines()
    assert "failed" in first
    assert any("Traceback" in line for line in others)
    assert all(line.startswith("    ") for line in others)
