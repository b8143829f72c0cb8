from ipaddress import ip_address

import pytest

from blip_serve.images.destinations import Destinations
from blip_serve.settings import FetchSettings

PUBLIC = "93.184.216.34"


def may_fetch(host: str, port: int, *addresses: str, **lists: tuple[str, ...]) -> bool:
    """Whether an image of this host may be fetched when its name stands for `addresses`, by the operator's lists."""
    destinations = Destinations(FetchSettings.model_validate(lists))
    return destinations.may_ask(host, port) and all(
        destinations.may_dial(host, port, ip_address(address)) for address in addresses
    )


def test_any_public_host_is_fetched_from_where_nothing_is_listed() -> None:
    assert may_fetch("pictures.test", 443, PUBLIC, "2606:4700::1111")
    assert not may_fetch("pictures.test", 8080, PUBLIC)
    assert not may_fetch("pictures.test", 443, "10.0.0.1")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("pictures.test", True),
        ("PICTURES.test", True),
        ("cdn.test", False),
        ("a.cdn.test", True),
        ("xn--bcher-kva.test", True),
        ("other.test", False),
        (PUBLIC, False),
        ("2606:4700:0:0::1111", True),
    ],
)
def test_only_allowed_hosts_are_fetched_from(host: str, allowed: bool) -> None:
    lists = ("pictures.test", "*.cdn.test", "bücher.test", "2606:4700::1111")
    assert may_fetch(host, 443, PUBLIC, allowed_hosts=lists) is allowed


def test_an_allowed_host_must_still_be_public_and_on_a_port_of_the_web() -> None:
    assert not may_fetch("pictures.test", 443, "10.0.0.1", allowed_hosts=("pictures.test",))
    assert not may_fetch("pictures.test", 8080, PUBLIC, allowed_hosts=("pictures.test",))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("tracker.test", PUBLIC),
        ("a.ads.test", PUBLIC),
        ("innocent.test", "93.184.217.9"),
        ("93.184.217.9", "93.184.217.9"),
        ("innocent.test", "8.8.4.4"),
        ("innocent.test", "2606:4700::1"),
        ("innocent.test", "64:ff9b::5db8:d909"),  # 93.184.217.9 by NAT64
    ],
)
def test_denied_hosts_and_networks_are_not_fetched_from(host: str, address: str) -> None:
    denied = ("tracker.test", "*.ads.test", "93.184.217.0/24", "8.8.4.4", "2606:4700::/32")
    assert not may_fetch(host, 443, address, denied_hosts=denied)
    assert not may_fetch(host, 443, address, denied_hosts=denied, allowed_hosts=(host,), private_hosts=(host,))
    assert may_fetch("ads.test", 443, PUBLIC, denied_hosts=denied)


@pytest.mark.parametrize(
    ("host", "port", "address", "allowed"),
    [
        ("minio.internal", 9000, "10.0.0.7", True),
        ("minio.internal", 9000, "fd12::7", True),
        ("minio.internal", 9000, PUBLIC, True),
        ("minio.internal", 443, "10.0.0.7", False),
        ("store.internal", 80, "10.0.0.7", True),
        ("store.internal", 443, "127.0.0.1", True),
        ("store.internal", 9000, "10.0.0.7", False),
        ("127.0.0.1", 9000, "127.0.0.1", True),
        ("::1", 9000, "::1", True),
        ("127.0.0.1", 9001, "127.0.0.1", False),
        ("other.internal", 9000, "10.0.0.7", False),
    ],
)
def test_private_hosts_are_exempt_with_their_port(host: str, port: int, address: str, allowed: bool) -> None:
    lists = ("minio.internal:9000", "store.internal", "127.0.0.1:9000", "[::1]:9000")
    assert may_fetch(host, port, address, private_hosts=lists) is allowed
    assert may_fetch(host, port, address, private_hosts=lists, allowed_hosts=("pictures.test",)) is allowed


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd12::7%eth0", "0.0.0.0", "224.0.0.1"],
)  # fmt: skip
def test_metadata_addresses_are_never_exempt(address: str) -> None:
    assert not may_fetch("store.internal", 80, address, private_hosts=("store.internal",))
    host = str(ip_address(address))
    assert not may_fetch(host, 80, address, private_hosts=(host,))
