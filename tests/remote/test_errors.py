"""What a server answers that is no result, and servers that are none."""

import asyncio
import gzip
import json
import socket

import pytest

from blip_serve.domain import Caption
from blip_serve.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestTooLarge,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from blip_serve.images.reference import UrlImage
from blip_serve.jobs.asking import Asking, Patience, ends_run
from blip_serve.jobs.rows import Failed
from blip_serve.remote.connection import ANSWER_BYTES
from blip_serve.remote.tasks import RemoteTasks
from blip_serve.tasks.embed import EmbedRequest, EmbedResult
from blip_serve.tasks.match import MatchRequest, MatchResult
from blip_serve.tasks.rerank import RerankRequest
from tests.remote.stub import DRIP, HANG_UP, SILENCE, answer, refusal, telling

REQUEST = EmbedRequest((Caption("a star", "alt"),))
USAGE = {"prompt_tokens": 3, "total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0, "image_tokens": 0}}
FINE = {"model": "m", "protocol": "hf", "data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": USAGE}
PATIENT = Patience(first_wait_s=0.001)


def ask(url: str, answer_s: float = 60) -> EmbedResult:
    async def run() -> EmbedResult:
        async with RemoteTasks(url, answer_s=answer_s) as remote:
            return await remote.run(REQUEST)

    return asyncio.run(run())


def refused(*answers: bytes) -> Exception:
    with telling(*answers) as stub, pytest.raises((ServiceError, ConfigurationError)) as found:
        ask(stub.url)
    return found.value


ENVELOPES: list[tuple[int, str, type[ServiceError]]] = [
    (400, "input_too_long", InvalidInput),
    (401, "invalid_api_key", Unauthenticated),
    (403, "model_not_allowed", PermissionDenied),
    (403, "task_not_allowed", PermissionDenied),
    (404, "model_not_found", ModelNotFound),
    (413, "request_too_large", RequestTooLarge),
    (429, "rate_limit_exceeded", RateLimited),
    (429, "overloaded", Overloaded),
    (500, "not_finite", InternalError),
    (503, "loading", Unavailable),
    (503, "load_failed", Unavailable),
    (503, "deadline_exceeded", DeadlineExceeded),
    (503, "out_of_memory", OutOfMemory),
]


@pytest.mark.parametrize(("status", "code", "kind"), ENVELOPES)
def test_an_error_is_the_one_that_the_server_raised(status: int, code: str, kind: type[ServiceError]) -> None:
    error = refused(refusal(status, code, "input[0].text", retry_after="7"))
    assert type(error) is kind
    assert isinstance(error, ServiceError)
    assert (error.message, error.code, error.param, error.retry_after) == ("Told so.", code, "alt", 7)


@pytest.mark.parametrize(
    ("status", "kind"), [(500, Unavailable), (502, Unavailable), (504, Unavailable), (429, Overloaded)]
)
def test_what_something_in_between_answers_may_pass(status: int, kind: type[ServiceError]) -> None:
    error = refused(answer(status, "<html>Bad Gateway</html>", retry_after="3"))
    assert type(error) is kind
    assert isinstance(error, ServiceError)
    assert (error.retry_after, Failed(error).may_pass) == (3, True)


@pytest.mark.parametrize("wait", ["Fri, 31 Dec 1999 23:59:59 GMT", "-1", "9" * 5000, ""])
def test_a_wait_that_is_no_number_of_seconds_is_passed_over(wait: str) -> None:
    error = refused(refusal(429, "overloaded", retry_after=wait))
    assert isinstance(error, Overloaded)
    assert error.retry_after is None


NOT_OURS = {
    "a page": answer(200, "<html>Welcome</html>"),
    "an answer of another kind": answer(200, {"object": "list", "data": []}),
    "a number too few": answer(200, FINE | {"data": []}),
    "no number": answer(200, FINE | {"data": [{"index": 0, "embedding": ["x"]}]}),
    "not finite": answer(200, '{"data": [{"index": 0, "embedding": [NaN]}]}'),
    "a redirect": answer(302, "", location="http://127.0.0.1:9/"),
    "a page that is not there": answer(404, "<html>Not Found</html>"),
    "another service's path": refusal(404, "not_found"),
    "too much": b"HTTP/1.1 200 X\r\n\r\n" + b"[" * (ANSWER_BYTES + 1),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_is_no_answer_of_ours_ends_the_run_and_names_the_server(name: str) -> None:
    error = refused(NOT_OURS[name])
    assert isinstance(error, ConfigurationError)
    assert "127.0.0.1" in str(error)
    assert ends_run(error)


@pytest.mark.parametrize("broken", [HANG_UP, b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{", b"nonsense\r\n\r\n"])
def test_a_lost_connection_may_pass(broken: bytes) -> None:
    error = refused(broken)
    assert isinstance(error, Unavailable)
    assert (error.code, Failed(error).may_pass, ends_run(error)) == ("connection_lost", True, False)


def test_where_nothing_listens_it_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=str(port)):
        ask(f"http://127.0.0.1:{port}")


def test_a_server_that_stays_silent_is_not_waited_for_without_end() -> None:
    with telling(SILENCE) as stub, pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
        ask(stub.url, answer_s=0.05)


def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for_without_end() -> None:
    with telling(DRIP) as stub, pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        ask(stub.url, answer_s=0.2)


def compressed(status: int, encoding: str) -> bytes:
    """A right answer, but for `content-encoding`."""
    content = json.dumps(FINE).encode()
    for _ in encoding.split(","):
        content = gzip.compress(content)
    head = f"HTTP/1.1 {status} X\r\ncontent-encoding: {encoding}\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
def test_a_compressed_answer_is_refused_before_it_unfolds(encoding: str) -> None:
    with telling(compressed(200, encoding)) as stub, pytest.raises(ConfigurationError, match="compressed"):
        ask(stub.url)
    assert "accept-encoding: identity" in stub.requests[0].lower()


def test_a_compressed_error_of_something_in_between_is_read_by_its_status() -> None:
    assert isinstance(refused(compressed(502, "gzip")), Unavailable)


def test_an_error_in_place_of_a_score_is_raised_where_it_was_to_fail_the_request() -> None:
    error = {"message": "Told so.", "code": "input_too_long", "param": "captions[0]"}
    pair = {"image_index": 0, "caption_index": 0, "error": error}

    async def run(url: str) -> MatchResult:
        async with RemoteTasks(url) as remote:
            return await remote.run(MatchRequest((UrlImage("http://h/a", "image"),), (Caption("a star", "alt"),)))

    with telling(answer(200, FINE | {"data": [pair]})) as stub, pytest.raises(InvalidInput) as found:
        asyncio.run(run(stub.url))
    assert (found.value.code, found.value.param) == ("input_too_long", "alt")


def test_asking_goes_on_until_the_server_is_back() -> None:
    async def run(url: str) -> EmbedResult:
        async with RemoteTasks(url) as remote:
            return await Asking(remote.run, PATIENT)(REQUEST)

    timing = {"server-timing": "fetch;dur=1.0, decode;dur=2.0, queue;dur=x, device;dur=4.5"}
    with telling(HANG_UP, refusal(503, "loading"), answer(502, "<html>"), answer(200, FINE, **timing)) as stub:
        result = asyncio.run(run(stub.url))
    assert result.vectors == ((0.6, 0.8),)
    assert (result.timings.fetch, result.timings.queue, result.timings.device) == (0.001, 0.0, 0.0045)
    assert (result.usage.text_tokens, result.service_tier) == (3, "flex")
    assert len(stub.requests) == 4


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://localhost", "http://", "http://host:99999", "http://me:key@host", "", "http://h/?a"],
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http://HOST:PORT"):
        RemoteTasks(url)


def test_a_key_with_a_line_break_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="key"):
        RemoteTasks("http://localhost", "a\nb")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/", ""])
def test_an_address_may_end_as_openai_s_clients_write_it(path: str) -> None:
    with telling(answer(200, FINE)) as stub:
        ask(stub.url + path)
    assert stub.requests[0].startswith("POST /v1/embeddings HTTP/1.1\r\n")


def test_a_path_before_it_is_kept() -> None:
    with telling(answer(200, FINE)) as stub:
        ask(stub.url + "/blip/v1")
    assert stub.requests[0].startswith("POST /blip/v1/embeddings ")


def test_a_request_of_another_task_is_not_sent() -> None:
    async def run() -> None:
        async with RemoteTasks("http://localhost") as remote:
            await remote.run(RerankRequest(Caption("a", "query"), ()))

    with pytest.raises(TypeError, match="RerankRequest"):
        asyncio.run(run())
