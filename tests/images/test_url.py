import pytest

from blip_serve.errors import InvalidInput
from blip_serve.images.url import MAX_URL_CHARS, parse_url

from .refusals import refused


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("http://pictures.test/dog.jpg", "pictures.test"),
        ("HTTPS://Pictures.Test/a%20dog.jpg?size=2#top", "pictures.test"),
        ("https://under_score.pictures.test:443/", "under_score.pictures.test"),
        ("http://1e100.net/", "1e100.net"),
        ("http://93.184.216.34/dog.jpg", "93.184.216.34"),
        ("http://[2606:4700::1111]:80/", "2606:4700::1111"),
        ("https://bücher.test/größe.png", "xn--bcher-kva.test"),
        ("https://pictures.test", "pictures.test"),
    ],
)
def test_plain_urls_are_taken(text: str, host: str) -> None:
    assert parse_url(text, "image").raw_host.decode() == host


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://pictures.test/dog.jpg\n", "http://pictures.test/dog.jpg"),
        (" \t\r\nhttp://pictures.test/dog.jpg \t\r\n", "http://pictures.test/dog.jpg"),
        ("http://pictures.test/a dog.jpg", "http://pictures.test/a%20dog.jpg"),
        ("http://pictures.test/a%20b c.jpg?d e", "http://pictures.test/a%20b%20c.jpg?d%20e"),
    ],
)
def test_blanks_around_are_passed_over_and_within_are_written_as_such(text: str, url: str) -> None:
    assert str(parse_url(text, "image")) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://user:pass@pictures.test/",
        "http://user@pictures.test/",
        "http://@pictures.test/",
        "http://pictures.test\\@127.0.0.1/",
        "http:\\\\pictures.test/",
        "http://pictures.test/\\dog.jpg",
        "http://pictures test/",
        "http:// pictures.test/",
        "http://127.0.0.1 /",
        "http://pictures.test/\tdog.jpg",
        "http://pictures.test/dog.jpg\n\x00",
        "http://pictures.test/\ndog.jpg",
        "\u2028http://pictures.test/",
        "http://pictures.test/\x00",
        "http://pictures.test/\x85",
        "http://pictures.test/\u2028",
        "http://pictures.test/\ud800",
        "http://\ud800.test/",
        "http://",
        "http:///dog.jpg",
        "http:/pictures.test/",
        "http:pictures.test",
        "http://:80/",
        "http://pictures.test:port/",
        "http://a..b/",
        "http://.pictures.test/",
        "http://-pictures.test/",
        "http://pictures%2etest/",
        "http://pictures*test/",
        "http://[::1/",
        "http://[pictures.test]/",
        "http://[fe80::1%25eth0]/" + "a" * MAX_URL_CHARS,
        "http://" + "a" * 64 + ".test/",
        "http://" + ".".join(["a" * 60] * 5) + "/",
        "http://" + "\u0627" * 200 + "/",
    ],
)
def test_malformed_urls_are_invalid(text: str) -> None:
    with refused("invalid_url", "image"):
        parse_url(text, "image")


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "256.256.256.256",
        "1.2.3.4.5",
        "localhost.",
        "pictures.test.",
        "127。1",
        "2130706433。",
    ],
)
def test_hosts_in_disguise_are_blocked(host: str) -> None:
    with refused("blocked_url", "image"):
        parse_url(f"http://{host}/", "image")


@pytest.mark.parametrize("host", ["\uff11\uff12\uff17.0.0.1", "\uff11\uff12\uff17\uff0e\uff11", "\u2460\u2461.\u2460"])
def test_full_width_digits_are_no_way_in(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_url(f"http://{host}/", "image")
    assert caught.value.code in ("blocked_url", "invalid_url")


@pytest.mark.parametrize("text", ["file:///etc/passwd", "ftp://pictures.test/", "gopher://pictures.test/", "//h/x", ""])
def test_other_schemes_are_unsupported(text: str) -> None:
    with refused("unsupported_url_scheme", "image"):
        parse_url(text, "image")
