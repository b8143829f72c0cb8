"""A name server whose answers may change from one look-up to the next."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import DNSLogger, DNSServer

Answers = Sequence[Sequence[str]]
"""Of each look-up, the last of them for all that follow: addresses, or one other name."""


class Names:
    """Answers for `zone`; `a-7.test`, where it is not there, as `a.test`."""

    def __init__(self, zone: Mapping[str, Answers]) -> None:
        self._zone = zone
        self.looked_up: Counter[tuple[str, str]] = Counter()
        """Times by name and type."""

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        """The answer; without addresses where the name has none of the type asked for."""
        name, kind = str(request.q.qname).rstrip(".").lower(), QTYPE[request.q.qtype]
        answer = request.reply()
        answers = self._zone.get(name) or self._zone.get(_plain(name))
        if answers is None:
            answer.header.rcode = RCODE.NXDOMAIN
            return answer
        time = self.looked_up[name, kind]
        self.looked_up[name, kind] += 1
        for each in answers[min(time, len(answers) - 1)]:
            for record in self._records(name, kind, each):
                answer.add_answer(record)
        return answer

    def _records(self, name: str, kind: str, each: str) -> Iterator[RR]:
        try:
            address = ip_address(each)
        except ValueError:
            yield RR(name, QTYPE.CNAME, rdata=CNAME(each), ttl=0)
            for inner in self._zone[each][0]:
                yield from self._records(each, kind, inner)
            return
        if (address.version, kind) == (4, "A"):
            yield RR(name, QTYPE.A, rdata=A(each), ttl=0)
        if (address.version, kind) == (6, "AAAA"):
            yield RR(name, QTYPE.AAAA, rdata=AAAA(tuple(address.packed)), ttl=0)


@contextmanager
def serving_names(zone: Mapping[str, Answers], address: str) -> Iterator[Names]:
    """Serves `zone` at port 53 of `address` while inside."""
    names = Names(zone)
    server = DNSServer(names, address=address, port=53, logger=DNSLogger("-request,-reply,-truncated,-error"))
    server.start_thread()
    try:
        yield names
    finally:
        server.stop()
        server.server.server_close()


def _plain(name: str) -> str:
    first, _, rest = name.partition(".")
    return f"{first.partition('-')[0]}.{rest}"
