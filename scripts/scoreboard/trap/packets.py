"""Every TCP and UDP packet on loopback, by where it goes. Needs a network namespace of one's own, or root."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

Endpoint = tuple[str, int]
ALL_PROTOCOLS = 3  # ETH_P_ALL of <linux/if_ether.h>
TRANSPORTS = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}
BUFFER_BYTES = 2**24


class Packets:
    """Counts packets neither end of which is `known`."""

    def __init__(self) -> None:
        self.known: set[Endpoint] = set()
        self.strange: Counter[str] = Counter()

    def note(self, packet: bytes) -> None:
        """Counts one."""
        found = _ends(packet)
        if found is None:
            return
        transport, source, target = found
        if source not in self.known and target not in self.known:
            self.strange[f"{transport} {target[0]} port {target[1]}"] += 1


@contextmanager
def seen() -> Iterator[Packets]:
    """All of them while inside."""
    packets = Packets()
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    tap.bind(("lo", 0))
    tap.settimeout(0.2)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            try:
                packet, (_, _, kind, *_) = tap.recvfrom(2**16)
            except TimeoutError:
                continue
            if kind != socket.PACKET_OUTGOING:  # on loopback each packet is seen twice: outgoing and incoming
                packets.note(packet)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield packets
    finally:
        ended.set()
        thread.join()
        tap.close()


def _ends(packet: bytes) -> tuple[str, Endpoint, Endpoint] | None:
    """Its transport, source and target; `None` for any other protocol."""
    source: IPv4Address | IPv6Address
    if packet[0] >> 4 == 4:
        length, protocol = 4 * (packet[0] & 15), packet[9]
        source, target = ip_address(packet[12:16]), ip_address(packet[16:20])
    else:
        length, protocol = 40, packet[6]
        source, target = ip_address(packet[8:24]), ip_address(packet[24:40])
    if protocol not in TRANSPORTS:
        return None
    ports = struct.unpack_from("!HH", packet, length)
    return TRANSPORTS[protocol], (str(source), ports[0]), (str(target), ports[1])
