"""Hosts in one spelling, and what no host is."""

import pytest

from blip_serve.hosts import endpoint, host_pattern, host_pattern_or_network, matches


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("Images.Example.ORG", "images.example.org"),
        ("images.example.org.", "images.example.org"),
        ("*.Example.org", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("under_score.example", "under_score.example"),
        ("93.184.216.34", "93.184.216.34"),
        ("2606:4700:0:0::1111", "2606:4700::1111"),
        ("[2606:4700::1111]", "2606:4700::1111"),
    ],
)
def test_a_host_has_one_spelling(text: str, spelt: str) -> None:
    assert host_pattern(text) == spelt


@pytest.mark.parametrize(
    "text",
    ["", ".", "*", "*.", "a b", "http://a", "a/b", "a:80", "u@a", "a..b", "*a.org", "a.*.org", "127.1", "2130706433",
     "0x7f.1", "a%2eb", "a\\b", "[a]", "-a.org", "a" * 64 + ".org", "\ud800"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        host_pattern(text)


def test_networks_are_patterns_where_they_may_be() -> None:
    assert host_pattern_or_network("203.0.113.0/24") == "203.0.113.0/24"
    assert host_pattern_or_network("2606:4700:0::/32") == "2606:4700::/32"
    assert host_pattern_or_network("*.example.org") == "*.example.org"
    for bad in ("203.0.113.7/24", "203.0.113.0/33", "a/24", "/"):
        with pytest.raises(ValueError, match=r".+"):
            host_pattern_or_network(bad)


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("minio.internal", "minio.internal"),
        ("MINIO.internal:9000", "minio.internal:9000"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::1]:9000"),
        ("[0::1]", "::1"),
        ("::1", "::1"),
    ],
)
def test_an_endpoint_has_one_spelling(text: str, spelt: str) -> None:
    assert endpoint(text) == spelt


@pytest.mark.parametrize(
    "text", ["*.internal:9000", "a:0", "a:65536", "a:", "a:http", ":80", "a:1:2", "[::1]9000", "b/"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|port"):
        endpoint(text)


@pytest.mark.parametrize(
    ("host", "pattern", "expected"),
    [
        ("example.org", "example.org", True),
        ("a.example.org", "example.org", False),
        ("a.example.org", "*.example.org", True),
        ("a.b.example.org", "*.example.org", True),
        ("example.org", "*.example.org", False),
        ("evilexample.org", "*.example.org", False),
        ("example.org.evil.net", "*.example.org", False),
    ],
)
def test_a_star_stands_for_all_below(host: str, pattern: str, expected: bool) -> None:
    assert matches(host, pattern) is expected
