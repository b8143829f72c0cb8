"""`/`: the page to try the models on, its files, and what a browser is told about it."""

import re
from collections.abc import Iterator
from posixpath import join, normpath

import pytest
from starlette.testclient import TestClient

from blip_serve.api import playground
from blip_serve.api.app import create_app
from tests.support.server import fake_settings, with_key

MOST_BYTES = 150_000
IMPORTED = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["'](.*?)["']""")
LINKED = re.compile(r"""(?:src|href)="\{files\}/(.*?)\"""")
OTHER_HOST = re.compile(r"""https?://\\?\w[\w.-]*|["'`(]//\w[\w.-]*|@import|\burl\(""")
INLINE = re.compile(r"<style|<script(?![^>]*src=)|\sstyle=|\son\w+=|javascript:")
HTML_SINKS = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
POLICY = {
    "default-src": {"'none'"},
    "script-src": {"'self'"},
    "style-src": {"'self'"},
    "img-src": {"'self'", "blob:", "data:"},
    "connect-src": {"'self'"},
    "base-uri": {"'none'"},
    "form-action": {"'none'"},
    "frame-ancestors": {"'none'"},
    "require-trusted-types-for": {"'script'"},
    "trusted-types": {"'none'"},
}
KEY = {"authorization": "Bearer right"}


def client(**settings: object) -> TestClient:
    """Of the application alone: the page needs no model."""
    return TestClient(create_app(fake_settings(**settings)), base_url="http://localhost")


@pytest.fixture(scope="module")
def browser() -> TestClient:
    return client()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The page's files by name, without the samples."""
    files = {name: data.decode() for name, data in playground.FILES.files.items() if not name.startswith("samples/")}
    return {"index.html": playground.PAGE_HTML} | files


def named(texts: dict[str, str]) -> Iterator[str]:
    """The files that files name."""
    for name, text in texts.items():
        yield from LINKED.findall(text)
        yield from (normpath(join(name, "..", other)) for other in IMPORTED.findall(text))


def test_a_browser_is_told_what_the_page_may_do(browser: TestClient) -> None:
    response = browser.get("/")
    assert response.headers["content-type"].startswith("text/html")
    rules = (rule.partition(" ") for rule in response.headers["content-security-policy"].split("; "))
    assert {name: set(sources.split()) for name, _, sources in rules} == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["permissions-policy"].startswith("camera=(self), microphone=()")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"


def test_the_page_obeys_its_policy_and_reads_no_html(browser: TestClient, texts: dict[str, str]) -> None:
    assert not INLINE.search(browser.get("/").text)
    assert not [name for name, text in texts.items() if HTML_SINKS.search(text)]


def test_every_file_is_named_and_every_name_is_a_file(texts: dict[str, str]) -> None:
    assert set(named(texts)) == set(texts) - {"index.html"}


def test_files_stay_in_the_browser_and_are_gone_under_another_name(browser: TestClient) -> None:
    assert f'src="{playground.FILES.below[1:]}/js/app.js"' in browser.get("/").text  # relative
    for path in playground.FILES.paths:
        response = browser.get(path)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "max-age=31536000, immutable"  # in shared caches only where open
        assert response.headers["x-content-type-options"] == "nosniff"
    below = playground.FILES.below
    for other in ("index.html", "js", "js/../../docs.html", "samples/", "samples/none.png", "../old/style.css"):
        response = browser.get(f"{below}/{other}")
        assert (response.status_code, response.headers["cache-control"]) == (404, "no-store")


def test_no_file_names_another_host(texts: dict[str, str]) -> None:
    assert not [f"{name}: {found}" for name, text in texts.items() for found in OTHER_HOST.findall(text)]


def test_the_page_is_light(texts: dict[str, str]) -> None:
    assert sum(len(text.encode()) for text in texts.values()) <= MOST_BYTES


def test_head_is_answered(browser: TestClient) -> None:
    response = browser.head("/")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(browser.get("/").content)


TRAVERSALS = (
    "../../docs.html",
    "..%2f..%2fdocs.html",
    "js/..%2f..%2f..%2fplayground.py",
    "%2e%2e/%2e%2e/playground.py",
    "..%5c..%5cplayground.py",
    "%2fetc%2fpasswd",
    "js/app.js%00",
    "js/app.js%00.png",
    "js%2f%2fapp.js",
    "%C0%AE%C0%AE/docs.html",
    "STYLE.CSS",
)


@pytest.mark.parametrize("name", TRAVERSALS)
def test_only_the_files_themselves_are_to_be_had(browser: TestClient, name: str) -> None:
    response = browser.get(f"{playground.FILES.below}/{name}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"


FORGED = {
    "x-forwarded-host": "evil.test",
    "x-forwarded-prefix": "/evil",
    "x-forwarded-proto": "javascript",
    "x-original-url": "/evil",
    "x-rewrite-url": "/evil",
    "forwarded": "host=evil.test",
    "referer": "http://evil.test/evil",
    "range": "bytes=0-3",
    "if-none-match": "*",
    "if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT",
}


def test_no_header_or_query_changes_what_a_cache_may_keep(browser: TestClient) -> None:
    keyed = client(auth=with_key("right"))
    for path in ("/", playground.PATHS[1], playground.PATHS[-1]):
        for asked, host in ((browser, "127.0.0.1:8000"), (keyed, "evil.test"), (keyed, '"><script>alert(1)</script>')):
            own = asked.get(path)
            forged = asked.get(f"{path}?<script>=evil", headers={**FORGED, "host": host})
            assert (forged.status_code, forged.content) == (200, own.content)
            assert [name for name, value in forged.headers.items() if own.headers.get(name) != value] == [
                "x-request-id"
            ]
            assert "vary" not in forged.headers


@pytest.mark.parametrize(("access", "without", "with_one"), [("open", 200, 200), ("key", 401, 200), ("off", 401, 404)])
def test_who_may_open_it(access: str, without: int, with_one: int) -> None:
    asked = client(server={"playground": access}, auth=with_key("right"))
    for path in ("/", playground.PATHS[-1]):
        assert asked.get(path).status_code == without
        assert asked.get(path, headers=KEY).status_code == with_one
    assert asked.get("/v1/models").status_code == 401  # the page holds no data


@pytest.mark.parametrize(
    ("docs", "keys", "linked"), [("key", {}, True), ("key", with_key("right"), False), ("off", {}, False)]
)
def test_the_documentation_is_linked_where_a_browser_may_open_it(
    docs: str, keys: dict[str, object], linked: bool
) -> None:
    [link] = re.findall(r'<a class="quiet" href="docs"(.*?)>', client(server={"docs": docs}, auth=keys).get("/").text)
    assert (link != " hidden") == linked
