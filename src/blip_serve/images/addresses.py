"""Tells public IP addresses, to which connections are allowed, from all others. Knows no host names and no sockets."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address

# From IANA's special-purpose registries. Not from `ipaddress`, whose answers differ between Python releases.
_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the host itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata, inside public address space
        "169.254.0.0/16",  # link-local, and metadata at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays, retired
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_PRIVATE = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
_METADATA = tuple(
    ip_network(network)
    for network in (
        "100.100.100.200/32",  # Alibaba Cloud
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::254/128",  # Google Cloud
    )
)
"""Addresses inside `_PRIVATE` where clouds hand out credentials. Other clouds use link-local addresses, or Azure's."""


def is_public(address: Address) -> bool:
    """Whether `address` is a globally reachable unicast address.

    IPv6 addresses that contain an IPv4 address (mapped, compatible, 6to4, Teredo, local NAT64) are not public: no
    images are served there. The exception is the well-known NAT64 prefix, which DNS returns on networks without IPv4.
    For it, the IPv4 address inside decides.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None:
        return False
    inner = innermost(address)
    if isinstance(inner, IPv4Address):
        return is_public(inner)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def is_private(address: Address) -> bool:
    """Whether `address` is in a private network or on this host. An operator may allow such addresses.

    `False` for addresses where a cloud hands out credentials, and for link-local, multicast and reserved addresses.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    return within(address, _PRIVATE) and not within(address, _METADATA)


def innermost(address: Address) -> Address:
    """The IPv4 address inside an address with the well-known NAT64 prefix. Any other address is returned unchanged."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def within(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether `address` is in one of `networks`."""
    return any(address.version == network.version and address in network for network in networks)
