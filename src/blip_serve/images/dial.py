"""Opens connections, and only to addresses that were checked. Knows no URLs and no HTTP."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address

import httpcore

from blip_serve.images.addresses import Address
from blip_serve.images.resolve import Resolve
from blip_serve.images.stream import HeadLimitedStream

MayDial = Callable[[str, int, Address], bool]
"""Whether a connection to a host and port at this address is allowed."""

_ATTEMPTS = 4


class BlockedAddressError(Exception):
    """One of a host's addresses is not allowed."""


class Dialler(httpcore.AsyncNetworkBackend):
    """Resolves a host once, checks all its addresses, and connects to one of the checked addresses.

    There is no second lookup, so DNS rebinding has no effect. TLS and HTTP on top still use the host's name.
    """

    def __init__(self, resolve: Resolve, may_dial: MayDial) -> None:
        self._resolve = resolve
        self._may_dial = may_dial
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first of the host's addresses that accepts. All attempts share `timeout` seconds.

        Raises `BlockedAddressError`. Raises `httpcore.ConnectError` or `ConnectTimeout` if no address can be reached.
        """
        *others, last = (await self._addresses(host, port))[:_ATTEMPTS]
        share = timeout and timeout / (len(others) + 1)
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._dial(address, port, share)
        return await self._dial(last, port, share)

    async def _dial(self, address: Address, port: int, timeout_s: float | None) -> HeadLimitedStream:
        return HeadLimitedStream(await self._network.connect_tcp(str(address), port, timeout_s))

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        addresses = [ip_address(answer) for answer in await self._answers(host)]
        if not all(self._may_dial(host, port, address) for address in addresses):
            raise BlockedAddressError
        return addresses

    async def _answers(self, host: str) -> Sequence[str]:
        with suppress(ValueError):
            return [str(ip_address(host))]
        try:
            answers = await self._resolve(host)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        if not answers:
            raise httpcore.ConnectError("no address")
        return answers
