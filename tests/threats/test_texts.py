"""Rows 36 to 38: texts that are blank, endless or strange."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from blip_serve.models.fake import FakeModel
from tests.support.server import Service, always, fake_settings, serving
from tests.threats.cases import GOOD, IMAGE, PICTURE, Case, cases, check_case, check_serves_on

MB = 1_000_000
LONG = "red " * (MB // 4)
BLANKS = {"nothing": "", "space": " ", "lines": "\n\t\r\n", "wide space": "\u3000\u2003\u00a0"}


@pytest.fixture(scope="module")
def tokenless() -> Iterator[Service]:
    """A service whose model has no tokenizer and would take any text."""
    with serving(fake_settings(), always(FakeModel("match", "embed", "caption"))) as service:
        yield service


@cases(
    *(Case(36, name, GOOD | {"caption": text}, "empty_input", "caption") for name, text in BLANKS.items()),
    Case(36, "second of two", {"image": IMAGE, "captions": ["a", ""]}, "empty_input", "captions[1]"),
    Case(36, "emptied by clean-up", GOOD | {"caption": "...", "protocol": "paper"}, "empty_input", "caption"),
    Case(36, "embedding", {"input": ["a", " "]}, "empty_input", "input[1]", path="/v1/embeddings"),
    Case(36, "query", {"query": "", "documents": [{"image": IMAGE}]}, "empty_input", "query", path="/v1/rerank"),
    Case(36, "document", {"query": {"image": IMAGE}, "documents": ["a", " "]}, "empty_input", "documents[1]",
         path="/v1/rerank"),
    Case(36, "text to score", {"queries": " ", "documents": {"image": IMAGE}}, "empty_input", "queries",
         path="/v1/score"),
    Case(37, "more tokens than positions", GOOD | {"caption": "red " * 100}, "input_too_long", "caption"),
    Case(37, "one of many", {"image": IMAGE, "captions": ["a", "red " * 100]}, "input_too_long", "captions[1]"),
    Case(37, "embedding", {"input": "red " * 100}, "input_too_long", "input", path="/v1/embeddings"),
    Case(37, "beginning of a caption", {"model": "blip-serve/demo-captioning", "messages": [
        {"role": "user", "content": [PICTURE, {"type": "text", "text": "red " * 100}]}]}, "input_too_long",
        "messages[0].content[1].text", path="/v1/chat/completions"),
)  # fmt: skip
def test_refused(demo: Service, case: Case) -> None:
    check_case(demo, case)


@cases(
    Case(37, "a megabyte", GOOD | {"caption": LONG}, "input_too_long", "caption"),
    Case(37, "a megabyte without a space", GOOD | {"caption": "a" * MB}, "input_too_long", "caption"),
    Case(37, "a megabyte of blanks and a word", GOOD | {"caption": " " * MB + "a"}, "input_too_long", "caption"),
    Case(37, "a megabyte to embed", {"input": LONG}, "input_too_long", "input", path="/v1/embeddings"),
    Case(37, "a megabyte to rank", {"query": LONG, "documents": [{"image": IMAGE}]}, "input_too_long", "query",
         path="/v1/rerank"),
    Case(37, "a megabyte to score", {"queries": LONG, "documents": {"image": IMAGE}}, "input_too_long", "queries",
         path="/v1/score"),
    Case(37, "a megabyte in a chat", {"messages": [
        {"role": "user", "content": [PICTURE, {"type": "text", "text": LONG}]}]}, "input_too_long",
        "messages[0].content[1].text", path="/v1/chat/completions"),
    Case(37, "a megabyte to decide", {"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": IMAGE}]}], "questions": [{"type": "predicate", "instructions": LONG}]},
        "input_too_long", "questions[0].instructions", path="/v1/decisions"),
)  # fmt: skip
def test_refused_before_tokenizing(tokenless: Service, case: Case) -> None:
    check_case(tokenless, case)


STRANGE = {
    "NUL": "a red\0circle",
    "bidi marks": "a \u202ered\u202c \u2066circle\u2069",
    "emoji": "a \U0001f534 \U0001f469\u200d\U0001f680 circle",
    "controls": "a red\x1b[31m\x07\x08\x7f circle\x85",
    "lines": "a red\ncircle\r\n2026 error \u2028 \u2029",
    "combining": "a" + "\u0301" * 500,
    "no character": "a \uffff\ufdd0 \U0010ffff circle",
    "byte order mark": "\ufeffa red circle",
}


@cases(*(Case(38, name, GOOD | {"caption": text}) for name, text in STRANGE.items()))
def test_strange_characters(demo: Service, case: Case) -> None:
    check_case(demo, case)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"row38-{kind} log") for kind in ("console", "json")])
def test_log_lines_stay_one_line(capfd: pytest.CaptureFixture[str], kind: str) -> None:
    """Whatever comes in a text, a name of a model, of a field or of a file, or a path: a request is one line."""
    forged = "a\n2026-01-01T00:00:00Z [error] forged\r\u2028\x1b[31m{"
    with serving(fake_settings(log={"level": "info", "format": kind}), always(FakeModel())) as service:
        capfd.readouterr()
        answers = [
            service.client.post("/v1/match", json=GOOD | {"caption": forged}),
            service.client.post("/v1/match", json=GOOD | {"model": forged}),
            service.client.post("/v1/match", json=GOOD | {forged: 1}),
            service.client.post("/v1/match", json=GOOD | {"image": {"url": "http://pictures.test/" + forged}}),
            service.client.post("/v1/match", data={"caption": forged}, files={"image": (forged, b"x")}),
            service.client.get("/" + quote(forged)),
            service.client.get("/livez", headers={"user-agent": "a\tb", "x-request-id": "a\tb"}),
        ]
        assert [answer.status_code for answer in answers] == [200, 404, 400, 400, 200, 404, 200]
        check_serves_on(service)
    lines = capfd.readouterr().err.splitlines()
    assert "forged" not in "".join(lines)
    begins = "{" if kind == "json" else "20"
    assert [line for line in lines if not line.startswith(begins)] == []
    assert sum("request" in line and "status" in line for line in lines) >= len(answers)
    if kind == "json":
        assert all(json.loads(line) for line in lines)
