"""What pages may do, in a real Chromium: CORS, and rows 89 and 90 of the table of threats."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from blip_serve.models.fake import FakeModel
from tests.support.server import Service, always, fake_settings, serving, with_key

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page  # of the extra `browser`, which the other tests do without

OpenPage = Callable[[str], "Page"]

FETCH = """
async ([url, given]) => {
  try {
    const answer = await fetch(url, given);
    return {status: answer.status, headers: Object.fromEntries(answer.headers), text: await answer.text()};
  } catch (error) {
    return {error: String(error)};
  }
}
"""
FORM = """
([url]) => {
  const form = Object.assign(document.createElement("form"), {action: url, method: "POST", enctype: "text/plain"});
  const field = {name: '{"image": "aGVsbG8=", "caption": "', value: 'a"}'};
  form.append(Object.assign(document.createElement("input"), field));
  document.body.append(form);
  form.submit();
}
"""
MATCH: dict[str, Any] = {
    "method": "POST",
    "headers": {"content-type": "application/json", "authorization": "Bearer right", "x-request-id": "from-a-page"},
    "body": '{"image": "aGVsbG8=", "caption": "a"}',
}
PLAIN: dict[str, Any] = {"method": "POST", "body": MATCH["body"], "headers": {"content-type": "text/plain"}}


@pytest.fixture
def model() -> FakeModel:
    return FakeModel("match")


@pytest.fixture
def keyless(model: FakeModel) -> Iterator[Service]:
    """As it comes: on loopback, without keys, and without origins."""
    with serving(fake_settings(), always(model)) as service:
        yield service


def fetched(page: "Page", url: str, given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(FETCH, [url, given])
    return found


def refusals(service: Service, code: str) -> float:
    return service.metric("errors_total", code=code)


@pytest.mark.parametrize("host", ["localhost", "pages.test"])
def test_a_page_of_a_listed_origin_reads_the_answer_and_its_headers(
    open_page: OpenPage, pages: int, model: FakeModel, host: str
) -> None:
    origin = f"http://{host}:{pages}"
    settings = fake_settings(server={"cors_origins": (origin,)}, auth=with_key("right", rate="1/hour"))
    with serving(settings, always(model)) as service:
        page = open_page(origin)
        answer = fetched(page, f"{service.url}/v1/match", MATCH)
        assert answer["status"] == 200, answer
        assert '"itm_score"' in answer["text"]
        assert answer["headers"]["x-request-id"] == "from-a-page"
        assert answer["headers"]["x-ratelimit-limit-requests"] == "1"
        assert "queue;dur=" in answer["headers"]["server-timing"]
        over = fetched(page, f"{service.url}/v1/match", MATCH)
        assert over["status"] == 429
        assert int(over["headers"]["retry-after"]) > 0
        assert '"rate_limit_exceeded"' in over["text"]


def test_a_page_of_another_origin_reads_nothing_and_changes_nothing(
    open_page: OpenPage, pages: int, keyless: Service, model: FakeModel
) -> None:
    page = open_page(f"http://localhost:{pages}")
    steps = len(model.steps)
    for given in (MATCH, PLAIN, {"method": "POST"}, {"method": "GET"}):
        assert "Failed to fetch" in fetched(page, f"{keyless.url}/v1/match", given)["error"]
    silent = fetched(page, f"{keyless.url}/v1/match", {**PLAIN, "mode": "no-cors"})
    assert (silent["status"], silent["text"]) == (0, "")
    assert refusals(keyless, "origin_not_allowed") == 3  # the first was not sent: its preflight was refused
    assert len(model.steps) == steps


def test_a_form_of_another_origin_is_refused(open_page: OpenPage, pages: int, keyless: Service) -> None:
    page = open_page(f"http://localhost:{pages}")
    with page.expect_response(f"{keyless.url}/v1/match") as answered:
        page.evaluate(FORM, [f"{keyless.url}/v1/match"])
    assert answered.value.status == 403
    assert answered.value.json()["error"]["code"] == "origin_not_allowed"


def test_a_name_that_leads_to_loopback_is_no_way_in(open_page: OpenPage, keyless: Service, model: FakeModel) -> None:
    """As after a rebinding: the page, its name and its requests are all of one origin, which is not ours."""
    page = open_page(keyless.url.replace("127.0.0.1", "evil.test") + "/v1/models")
    assert '"host_not_allowed"' in page.content()
    steps = len(model.steps)
    answer = fetched(page, "/v1/match", MATCH)
    assert (answer["status"], len(model.steps)) == (403, steps)
    assert '"host_not_allowed"' in answer["text"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "blip.localhost"])
def test_our_own_page_may(open_page: OpenPage, keyless: Service, host: str) -> None:
    page = open_page(keyless.url.replace("127.0.0.1", host) + "/livez")
    answer = fetched(page, "/v1/match", MATCH)
    assert answer["status"] == 200, answer
