"""`/docs` without a network: the page, what it loads, and what the document says for people."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from blip_serve.models.fake import FakeModel
from tests.support.server import Service, always, fake_settings, serving

CONFIGURATION = re.compile(r"SwaggerUIBundle\(\{(.*?)\}\)", re.DOTALL)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel())) as running:
        yield running


class References(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.found += [value for name, value in attrs if name in ("src", "href", "action", "srcset") and value]
        self.inline += tag in ("script", "style") and "src" not in named


def references(page: str) -> References:
    parser = References()
    parser.feed(page)
    return parser


def test_the_page_loads_nothing_from_another_host(service: Service) -> None:
    response = service.client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    found = references(response.text)
    assert not found.inline  # the policy forbids it
    loaded = [reference for reference in found.found if reference != "data:,"]
    assert len(loaded) == 4
    for reference in loaded:
        assert not re.match(r"[a-z]*:|/", reference)  # relative: below a proxy's prefix too
        assert service.client.get(f"/{reference}").status_code == 200


def test_the_browser_is_told_to_ask_no_other_host(service: Service) -> None:
    policy = service.client.get("/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    sources = {source for rule in rules.values() for source in rule.split()}
    assert sources <= {"'none'", "'self'", "'unsafe-inline'", "data:"}
    assert "'unsafe-inline'" not in rules["script-src"]


def test_scripts_and_styles_name_no_address_that_is_asked(service: Service) -> None:
    found = references(service.client.get("/docs").text).found
    [style] = [service.client.get(f"/{name}").text for name in found if name.endswith(".css")]
    assert "@import" not in style
    assert set(re.findall(r"url\(\"?([a-z]*:?)", style)) == {"data:"}
    [start] = [service.client.get(f"/{name}").text for name in found if name.endswith("docs.js")]
    [configuration] = CONFIGURATION.findall(start)
    assert "validatorUrl: null" in configuration  # else its badge is asked of a host
    assert 'url: "openapi.json"' in configuration
    assert "://" not in start


def test_what_the_page_loads_is_kept_by_the_browser_and_is_gone_under_another_name(service: Service) -> None:
    script = next(name for name in references(service.client.get("/docs").text).found if name.endswith("bundle.js"))
    response = service.client.get(f"/{script}")
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-type"].startswith("text/javascript")
    for other in (f"/{script}.map", f"/{script.replace('swagger-ui-bundle.js', 'LICENSE')}", "/docs/old/docs.js"):
        assert service.client.get(other).status_code == 404
    assert service.client.get("/redoc").status_code == 404


def test_every_endpoint_is_in_a_group_that_is_introduced(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    assert "/v1/models" in document["info"]["description"]
    groups = {tag["name"] for tag in document["tags"] if tag["description"]}
    used = [tuple(operation["tags"]) for path in document["paths"].values() for operation in path.values()]
    assert {len(tags) for tags in used} == {1}
    assert {tag for tags in used for tag in tags} == groups
