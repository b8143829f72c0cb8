"""What every refusal over HTTP looks like."""

import re

import httpx

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 500: "server_error",
         503: "server_error"}  # fmt: skip
"""Of an error, by its status; the others are the client's."""

_LEAKS = re.compile(
    r"Traceback|\.py\b|site-packages|/(usr|tmp|root|home|proc)/|\bErrno\b|secret"
    r"|PIL\b|pillow|pydantic|httpx|httpcore|torch|transformers|cannot identify|broken data stream|decompress",
    re.IGNORECASE,
)


def check(response: httpx.Response, status: int, code: str, param: str | None) -> None:
    """Checks that the body is an error in the envelope and reveals no internals."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == TYPES.get(status, "invalid_request_error")
    assert error["message"]
    assert not _LEAKS.search(error["message"])
    assert response.headers["x-request-id"]
