"""The rows of the table of threats as test cases, and the check for a case.

A test's id contains the number of its row, as in `test_urls.py::test_refused[row21-AWS metadata]`: `ROW` finds it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.support.errors import check
from tests.support.pictures import data_uri, picture
from tests.support.server import Service

ROWS = (*range(1, 56), *range(81, 91), *range(92, 95))
ROW = re.compile(r"row(\d\d)")

IMAGE = data_uri(picture(1))
GOOD: dict[str, object] = {"image": IMAGE, "caption": "a red circle"}
PICTURE = {"type": "image_url", "image_url": {"url": IMAGE}}
MESSAGES = [{"role": "user", "content": [PICTURE]}]


@dataclass(frozen=True)
class Case:
    """A request and its answer: refused with `status`, `code` and `param`, or answered where `code` is `None`.

    `body` is sent as JSON, unless it is bytes.
    """

    row: int
    name: str
    body: Mapping[str, Any] | bytes
    code: str | None = None
    param: str | None = "image"
    status: int = 400
    path: str = "/v1/match"
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def cases(*given: Case) -> pytest.MarkDecorator:
    """Makes a test of each case."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=f"row{case.row:02}-{case.name}") for case in given])


def ask(service: Service, case: Case) -> httpx.Response:
    """The answer to a case."""
    if isinstance(case.body, bytes):
        return service.client.post(case.path, content=case.body, headers=dict(case.headers))
    return service.client.post(case.path, json=case.body)


def check_case(service: Service, case: Case) -> None:
    """The answer is the case's, and the service answers a good request right after."""
    response = ask(service, case)
    if case.code is None:
        assert response.status_code == 200, response.text
    else:
        check(response, case.status, case.code, case.param)
    check_serves_on(service)


def check_serves_on(service: Service) -> None:
    """A good request is answered."""
    response = service.client.post("/v1/match", json=GOOD)
    assert response.status_code == 200, response.text
