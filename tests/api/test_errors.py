"""Bad input over HTTP: a 4xx in the envelope that names the field; no fault of ours, the next request unharmed."""

import base64
import json
import socket
import threading
import tracemalloc
from typing import Any

import httpx
import pytest

from blip_serve.models.fake import FakeModel
from tests.support.errors import check
from tests.support.pictures import encoded, picture
from tests.support.raw import exchange, status
from tests.support.server import Service, always, fake_settings, serving, settings, with_key
from tests.support.waiting import wait_until

PNG = base64.b64encode(encoded(picture(1))).decode()


def good() -> dict[str, Any]:
    return {"image": PNG, "caption": "a red circle"}


BAD: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("no image", {"caption": "a"}, 400, "missing_required_parameter", "image"),
    ("no caption", {"image": PNG}, 400, "missing_required_parameter", "caption"),
    ("image and images", good() | {"images": [PNG]}, 400, "invalid_value", "images"),
    ("caption and captions", good() | {"captions": ["a"]}, 400, "invalid_value", "captions"),
    ("no images", {"images": [], "caption": "a"}, 400, "invalid_value", "images"),
    ("no captions", {"image": PNG, "captions": []}, 400, "invalid_value", "captions"),
    ("unknown protocol", good() | {"protocol": "mine"}, 400, "invalid_value", "protocol"),
    ("unknown pairing", good() | {"pairing": "mine"}, 400, "invalid_value", "pairing"),
    ("unknown score", good() | {"scores": ["mine"]}, 400, "invalid_value", "scores[0]"),
    ("no scores", good() | {"scores": []}, 400, "invalid_value", "scores"),
    ("zip of unequal lengths", good() | {"pairing": "zip", "caption": None, "captions": ["a", "b"]}, 400,
     "invalid_value", "pairing"),
    ("second image undecodable", {"images": [PNG, "aGVsbG8="], "caption": "a"}, 400, "unsupported_image_format",
     "images[1]"),
    ("too many bytes", good() | {"image": base64.b64encode(bytes(300_000)).decode()}, 400, "image_too_large", "image"),
]  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Any:
    """The embedded checkpoint behind small limits, beside the catalogue's others."""
    limits = {"max_images": 4, "max_captions": 8, "max_pairs": 16}
    with serving(settings(limits=limits, images={"max_bytes": 200_000}, catalogue=True)) as service:
        yield service


@pytest.mark.parametrize(("body", "status", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_by_name(
    small: Service, capfd: pytest.CaptureFixture[str], body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    check(small.client.post("/v1/match", json=body), status, code, param)
    assert small.client.post("/v1/match", json=good()).status_code == 200
    assert "error" not in capfd.readouterr().err


def test_a_body_that_is_no_object_is_refused(small: Service) -> None:
    check(small.client.post("/v1/match", json=["a"]), 400, "invalid_type", None)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_content_types_are_refused(small: Service, kind: str) -> None:
    response = small.client.post("/v1/match", content=json.dumps(good()), headers={"content-type": kind})
    check(response, 415, "unsupported_content_type", "content-type")


MULTIPART_BAD: list[tuple[str, dict[str, Any], list[tuple[str, Any]], str, str | None]] = [
    ("no image", {"caption": "a"}, [("other", b"x")], "unknown_parameter", "other"),
    ("no caption", {}, [("image", encoded(picture(1)))], "missing_required_parameter", "caption"),
    ("caption as a file", {}, [("image", encoded(picture(1))), ("caption", b"a")], "invalid_type", "caption"),
    ("undecodable", {"caption": "a"}, [("image", b"hello")], "unsupported_image_format", "image"),
    ("second undecodable", {"caption": "a"}, [("image", encoded(picture(1))), ("image", b"x")],
     "unsupported_image_format", "image[1]"),
    ("empty", {"caption": "a"}, [("image", b"")], "empty_image", "image"),
    ("blank second caption", {"caption": ["a", " "]}, [("image", encoded(picture(1)))], "empty_input", "caption[1]"),
    ("protocol twice", {"caption": "a", "protocol": ["hf", "paper"]}, [("image", encoded(picture(1)))],
     "invalid_value", "protocol"),
    ("image and images", {"caption": "a"}, [("image", b"x"), ("images", b"y")], "invalid_value", "images"),
    ("bad protocol", {"caption": "a", "protocol": "x"}, [("image", encoded(picture(1)))], "invalid_value", "protocol"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "files", "code", "param"), [bad[1:] for bad in MULTIPART_BAD], ids=[bad[0] for bad in MULTIPART_BAD]
)
def test_bad_forms_are_refused_by_name(
    small: Service, data: dict[str, Any], files: list[tuple[str, Any]], code: str, param: str | None
) -> None:
    named = [(name, ("file", content)) for name, content in files]
    check(small.client.post("/v1/match", data=data, files=named), 400, code, param)
    assert small.client.post("/v1/match", json=good()).status_code == 200


def test_a_broken_form_is_refused(small: Service) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    check(small.client.post("/v1/match", content=b"--y\r\nnonsense", headers=headers), 400, "invalid_body", None)
    check(
        small.client.post("/v1/match", content=b"--x", headers={"content-type": "multipart/form-data"}),
        400,
        "invalid_body",
        None,
    )


def test_a_page_of_no_model_is_not_found(small: Service) -> None:
    check(small.client.get("/v1/models/nobody/nothing"), 404, "model_not_found", "model")


def test_a_fault_of_ours_is_logged_with_its_cause_and_answered_without(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(works: object) -> None:
        if broken:
            raise RuntimeError("the secret cause")

    broken = False
    with serving(fake_settings(), always(FakeModel(on_launch=fail))) as service:
        broken = True
        response = service.client.post("/v1/match", json=good())
        broken = False
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "server_error"
        assert "secret" not in response.text
        assert service.client.post("/v1/match", json=good()).status_code == 200
    assert "the secret cause" in capfd.readouterr().err


FLOODS = {
    "captions": b'{"captions":[' + b"1," * 90_000 + b"1]}",
    "images": b'{"caption":"a","images":[' + b'"A",' * 90_000 + b'"A"]}',
    "unknown keys": b"{" + b",".join(b'"k%d":1' % i for i in range(90_000)) + b"}",
}


@pytest.mark.parametrize(("kind", "body"), FLOODS.items(), ids=FLOODS)
def test_a_flood_of_wrong_values_is_refused_at_the_first(small: Service, kind: str, body: bytes) -> None:
    """Listing every fault of these bodies took seconds and gigabytes, on the event loop."""
    tracemalloc.start()
    response = small.client.post("/v1/match", content=body, headers={"content-type": "application/json"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert response.status_code == 400
    assert response.json()["error"]["code"] in ("invalid_type", "too_many_images", "unknown_parameter")
    assert peak < 40 * len(body)


VALUES = {"numbers": b"1,", "arrays": b"[],", "objects": b"{},", "nested": b"["}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(
    "path", ["match", "chat/completions", "responses", "decisions", "embeddings", "rerank", "score"]
)  # fmt: skip
def test_json_of_too_many_values_is_refused_unread(small: Service, path: str, value: bytes) -> None:
    body = b'{"image": [' + value * 200_000 + b"1]}"
    response = small.client.post(f"/v1/{path}", content=body, headers={"content-type": "application/json"})
    check(response, 400, "invalid_json", None)
    assert "100000" in response.json()["error"]["message"]


def test_the_bound_on_json_values_is_a_setting_and_exact() -> None:
    with serving(fake_settings(server={"max_json_values": 6}), always(FakeModel())) as service:
        for captions, status in ((["a"] * 4, 200), (["a"] * 5, 400)):
            body = {"image": PNG, "captions": captions}
            assert service.client.post("/v1/match", json=body).status_code == status


def test_what_base64_and_escapes_weigh_is_not_bounded_by_values(small: Service) -> None:
    """Many bytes, few values: read, and refused for what they are."""
    body = {"image": "A" * 4_000_000, "caption": "a"}
    check(small.client.post("/v1/match", json=body), 400, "image_too_large", "image")


def form(text: bytes, kind: str = "") -> dict[str, Any]:
    """A form of an image and a caption, as the client takes it."""
    parts = b"".join(
        b'--b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % part
        for part in ((b"image", PNG.encode()), (b"caption", text))
    )
    return {"content": parts + b"--b--\r\n", "headers": {"content-type": f"multipart/form-data; boundary=b{kind}"}}


def test_a_text_of_a_form_that_is_no_utf8_is_refused_by_name(small: Service) -> None:
    assert small.client.post("/v1/match", **form("ein grüner Kreis".encode())).status_code == 200
    refused = small.client.post("/v1/match", **form("ein grüner Kreis".encode("latin-1")))
    check(refused, 400, "invalid_text", "caption")


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "punycode", "idna", "latin-1", "nonsense"])
def test_a_form_in_another_encoding_is_refused(small: Service, charset: str) -> None:
    response = small.client.post("/v1/match", **form(b"a circle", f"; charset={charset}"))
    check(response, 415, "unsupported_content_type", "content-type")
    assert small.client.post("/v1/match", **form(b"a circle", "; charset=UTF-8")).status_code == 200


FORMS = {
    "no boundary": ("", b"--b\r\n"),
    "a header of a megabyte": ("; boundary=b", b"--b\r\nh: " + b"x" * 1_000_000),
    "many headers": ("; boundary=b", b"--b\r\n" + b"h: x\r\n" * 1000 + b"\r\n"),
    "no name": ("; boundary=b", b"--b\r\ncontent-disposition: form-data\r\n\r\na\r\n--b--\r\n"),
}


@pytest.mark.parametrize(("kind", "body"), FORMS.values(), ids=FORMS)
def test_a_form_out_of_bounds_is_refused(small: Service, kind: str, body: bytes) -> None:
    headers = {"content-type": f"multipart/form-data{kind}"}
    check(small.client.post("/v1/match", content=body, headers=headers), 400, "invalid_body", None)


@pytest.mark.parametrize("host", [b"[", b"\xff", b"a b", b"x:99999"])
def test_an_unknown_path_is_404_whatever_the_host_is_called(host: bytes) -> None:
    head = b"GET /nothing?%%ff HTTP/1.1\r\nhost: %b\r\nauthorization: Bearer right\r\nconnection: close\r\n\r\n" % host
    with serving(fake_settings(auth=with_key("right")), always(FakeModel())) as service:
        assert status(exchange(service.url, head)) == 404


def test_bodies_together_are_bounded_and_their_room_comes_back() -> None:
    model = FakeModel()
    body = {"image": "aGVsbG8=", "caption": "a" * 3000}
    with serving(fake_settings(server={"max_bodies_bytes": 5000}), always(model)) as service:
        model.open.clear()
        held = threading.Thread(target=lambda: httpx.post(f"{service.url}/v1/match", json=body, timeout=20))
        held.start()
        wait_until(lambda: service.metric("queue_requests") == 1)
        response = service.client.post("/v1/match", json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (429, "overloaded")
        model.open.set()
        held.join(20)
        assert service.client.post("/v1/match", json=body).status_code == 200


def test_background_bodies_leave_half_of_the_room_to_interactive_ones() -> None:
    model = FakeModel()
    body = {"image": "aGVsbG8=", "caption": "a" * 3000}
    flex = body | {"service_tier": "flex"}
    with serving(fake_settings(server={"max_bodies_bytes": 10_000}), always(model)) as service:
        model.open.clear()
        held = threading.Thread(target=lambda: httpx.post(f"{service.url}/v1/match", json=flex, timeout=20))
        held.start()
        wait_until(lambda: service.metric("queue_requests") == 1)
        response = service.client.post("/v1/match", json=flex)
        assert (response.status_code, response.json()["error"]["code"]) == (429, "overloaded")
        model.open.set()
        assert service.client.post("/v1/match", json=body).status_code == 200
        held.join(20)
        assert service.client.post("/v1/match", json=flex).status_code == 200


def test_an_upload_broken_off_is_no_fault_of_ours_and_shows_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(fake_settings(log={"level": "info"}), always(FakeModel())) as service:
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                b"POST /v1/match HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-secret\r\n"
                b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
            )
        wait_until(lambda: service.metric("cancelled_requests_total") == 1)
        assert service.metric("errors_total") == 0
    logged = capfd.readouterr().err
    assert "status=499" in logged
    assert "sk-secret" not in logged
    assert "Traceback" not in logged


def test_a_fault_in_the_log_shows_no_local_variables(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(works: object) -> None:
        secret = "sk-" + "secret"
        if broken:
            raise RuntimeError(f"{len(secret)} characters")

    broken = False
    with serving(fake_settings(), always(FakeModel(on_launch=fail))) as service:
        broken = True
        service.client.post("/v1/match", json=good(), headers={"authorization": "Bearer sk-secret"})
        broken = False
    logged = capfd.readouterr().err
    assert "9 characters" in logged
    assert "sk-secret" not in logged


def test_a_request_that_outlives_the_drain_is_told_so_in_the_envelope() -> None:
    model = FakeModel()
    answers: list[httpx.Response] = []
    with serving(fake_settings(server={"drain_timeout_s": 0}), always(model)) as service:
        model.open.clear()
        url = f"{service.url}/v1/match"
        waiting = threading.Thread(target=lambda: answers.append(httpx.post(url, json=good(), timeout=20)))
        waiting.start()
        wait_until(lambda: service.metric("queue_requests") == 1)
    waiting.join(20)
    model.open.set()
    [answer] = answers
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert answer.headers["retry-after"] == "1"


def test_errors_of_the_framework_are_counted(small: Service) -> None:
    before = small.metric("errors_total", code="not_found")
    small.client.get("/nothing")
    assert small.metric("errors_total", code="not_found") == before + 1


def test_an_unknown_model_points_to_the_list_of_models(small: Service) -> None:
    response = small.client.post("/v1/match", json=good() | {"model": "nope"})
    check(response, 404, "model_not_found", "model")
    assert response.json()["error"]["message"] == "The model 'nope' does not exist. GET /v1/models lists those that do."


@pytest.mark.parametrize("body", [{"json": good() | {"image": "red-circle.png"}},
                                  {"files": {"image": (None, "red-circle.png"), "caption": (None, "a")}}])  # fmt: skip
def test_a_file_s_name_in_an_image_s_place_is_told_how_files_are_sent(small: Service, body: dict[str, Any]) -> None:
    response = small.client.post("/v1/match", **body)
    check(response, 400, "invalid_base64", "image")
    assert "-F image=@" in response.json()["error"]["message"]
    assert "data:image/png;base64," in response.json()["error"]["message"]
