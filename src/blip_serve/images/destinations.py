"""Which hosts, ports and addresses images may be fetched from: the public web, and the settings' lists.

Opens no connections.
"""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

from blip_serve.hosts import endpoint_of, is_address, matches, same_spelling
from blip_serve.images.addresses import Address, innermost, is_private, is_public, within
from blip_serve.settings import FetchSettings

Allow = Callable[[Address], bool]

WEB_PORTS = frozenset({80, 443})


class Destinations:
    """Checks the host and port of every hop, and every address that a DNS lookup returns.

    `allow` and `ports` define the public web.
    """

    def __init__(self, settings: FetchSettings, *, allow: Allow = is_public, ports: frozenset[int] = WEB_PORTS) -> None:
        self._allow = allow
        self._ports = ports
        self._allowed = settings.allowed_hosts
        self._private = frozenset(settings.private_hosts)
        networks = [entry for entry in settings.denied_hosts if "/" in entry or is_address(entry)]
        self._denied_networks = [ip_network(entry) for entry in networks]
        self._denied = [entry for entry in settings.denied_hosts if entry not in networks]

    def may_ask(self, host: str, port: int) -> bool:
        """Whether a request may go to this host and port. `may_dial` checks a name's addresses once they are known."""
        host = same_spelling(host)
        if any(matches(host, pattern) for pattern in self._denied):
            return False
        if is_address(host) and not self.may_dial(host, port, ip_address(host)):
            return False  # at once: no connection is begun for it
        if self._exempt(host, port):
            return True
        allowed = not self._allowed or any(matches(host, pattern) for pattern in self._allowed)
        return allowed and port in self._ports

    def may_dial(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to `address`, one of the host's addresses, is allowed."""
        inner = innermost(address)
        if within(address, self._denied_networks) or within(inner, self._denied_networks):
            return False
        return self._allow(address) or (self._exempt(same_spelling(host), port) and is_private(address))

    def _exempt(self, host: str, port: int) -> bool:
        return endpoint_of(host, port) in self._private or (host in self._private and port in self._ports)
