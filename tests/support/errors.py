"""What every refusal over HTTP looks like, and bodies that no endpoint can read."""

import httpx

MALFORMED = {
    "empty": b"",
    "cut off": b"{",
    "lone surrogate": b'{"image": "\\ud800", "caption": "a"}',
    "NaN": b'{"caption": NaN}',
    "deep array": b"[" * 200_000,
    "no UTF-8": b"\xff\xfe",
    "long integer": b'{"caption": 1' + b"0" * 5000 + b"}",
}


def check(response: httpx.Response, status: int, code: str, param: str | None) -> None:
    """An error of the client's, in the envelope, that tells nothing of the inside."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert not any(word in error["message"] for word in ("Traceback", "PIL", "/site-packages", "Errno", "pydantic"))
    assert response.headers["x-request-id"]
