"""URLs that lead where they must not: not one packet goes there. All addresses there are lead to this machine here."""

import socket
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import httpx

from bench.process import Server, free_port
from scoreboard.board import Board
from scoreboard.isolation import NAMESERVER
from scoreboard.routes import Route, routes
from scoreboard.trap import hosts, names, packets
from scoreboard.trap.packets import Packets

PART = "ssrf"
FAKE_STEP_S = 0.0
REFUSALS = frozenset({"blocked_url", "invalid_url", "unsupported_url_scheme", "too_many_redirects", "invalid_base64"})
NO_HEADER = "image_fetch_failed"
"""To a redirect whose target holds a line's end: that breaks the answer it came in."""
BACK = "http:///127.0.0.1/"
"""As a redirect it leads to the host it came from (RFC 3986), which is none of the forbidden."""
SETTLE_S = 0.5
"""After the last request, so that packets on their way are seen too."""
PORTS = (80, 443)
TRAPS = (
    *("169.254.169.254", "168.63.129.16", "100.100.100.200", "[fd00:ec2::254]", "127.0.0.1", "127.8.8.8", "10.0.0.1"),
    *("172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "198.18.0.1", "255.255.255.255"),
    *("224.0.0.1", "192.0.2.1", "240.0.0.1", "[::1]", "[::]", "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[ff02::1]"),
    *("2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0", "127.0.0.1."),
    *(
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
    ),
    *("[::169.254.169.254]", "[::127.0.0.1]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]", "[2001:0:7f00:1::1]"),
    *(
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "user:pass@127.0.0.1",
        "good.test@127.0.0.1",
        "127.0.0.1\\@good.test",
    ),
    *("good.test\\@127.0.0.1", "127.0.0.1\t", "127.0.\n0.1", "%31%32%37.0.0.1", "127.0.0.1%00.good.test"),
    *("localhost", "LOCALHOST", "localhost.", "localhost.good.test@localhost"),
    *("good.test:22", "good.test:8080", "93.184.215.14:6379", "127.0.0.1:80", "127.0.0.1:443", "good.test:0"),
)
"""Hosts as a URL may spell them, with what comes before and after: rows 21 to 26 of threats.md."""
URLS = (
    *(
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "gopher://127.0.0.1:80/_",
        "data:text/html,a",
        "//127.0.0.1/",
        "http:127.0.0.1",
    ),
    *(BACK, "http:\\\\127.0.0.1/", "https://127.0.0.1/", "jar:http://127.0.0.1!/", "unix:/run/a.sock"),
)
FOREIGN_NAMES: dict[str, names.Answers] = {
    "private.test": [["10.0.0.1"]],
    "metadata.test": [["169.254.169.254"]],
    "six.test": [["::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "nat64.test": [["64:ff9b::a9fe:a9fe"]],
    "zero.test": [["0.0.0.0"]],
    "mixed.test": [[hosts.GOOD[0], "127.0.0.1"]],
    "mixed2.test": [["10.0.0.1", hosts.GOOD[0]]],
    "mixed6.test": [[hosts.GOOD[0], "fd00:ec2::254"]],
    "alias.test": [["private.test"]],
}
"""Names whose answers are all, or in part, where nobody may go."""
ZONE: dict[str, names.Answers] = {
    **FOREIGN_NAMES,
    "good.test": [[hosts.GOOD[0]]],
    "good6.test": [[hosts.GOOD[1]]],
    "rebind.test": [[hosts.GOOD[0]], ["127.0.0.1"]],
    "rebind6.test": [[hosts.GOOD[1]], ["::1"]],
}
"""`rebind-7.test` answers as `rebind.test` does, with look-ups of its own."""


def run(board: Board) -> None:
    """With the system's resolver, which is led to a name server of ours; the fake model fetches as any other does."""
    hosts.take_every_address()
    with _internet() as (seen, look_ups):
        port = free_port()
        seen.known |= {("127.0.0.1", port), (NAMESERVER, 53), *((good, port) for good in hosts.GOOD for port in PORTS)}
        _control(board, seen)
        with board.serve(PART, {}, fake_step_s=FAKE_STEP_S, port=port) as server:
            found = routes(server.client)
            _good(board, server.client, found)
            _refused(board, "addresses as a URL may spell them", server, found, _spelled())
            _refused(board, "names that answer with such addresses", server, found, _named())
            _refused(
                board,
                "redirects to such addresses and names, and in circles",
                server,
                found,
                _redirected(),
                REFUSALS | {NO_HEADER},
            )
            _rebinding(board, server, found, look_ups)
        time.sleep(SETTLE_S)
        strange = ", ".join(f"{times} to {where}" for where, times in seen.strange.most_common(5))
        board.add(PART, "packets to anywhere else, over all of these", "0", strange or "0", not strange)
        seen.strange.clear()
        _control(board, seen)  # the trap saw all along
        _exempt(board, seen)


@contextmanager
def _internet() -> Iterator[tuple[Packets, names.Names]]:
    """A name server, pictures at the good addresses and traps at all others, and an eye on every packet."""
    with ExitStack() as stack:
        look_ups = stack.enter_context(names.serving_names(ZONE, NAMESERVER))
        for port in PORTS:
            for address in ("0.0.0.0", "::"):
                stack.enter_context(hosts.serving(address, port, hosts.GOOD))
        yield stack.enter_context(packets.seen()), look_ups


def _control(board: Board, seen: Packets) -> None:
    """A packet that goes to a trap is seen: connects to one itself."""
    for trap in ("169.254.169.254", "fd00:ec2::254"):
        socket.create_connection((trap, 80), timeout=2).close()
    time.sleep(SETTLE_S)
    counted = seen.strange.total()
    board.add(PART, "packets seen of two connections made on purpose to traps", ">= 2", f"{counted}", counted >= 2)
    seen.strange.clear()


def _good(board: Board, client: httpx.Client, found: list[Route]) -> None:
    """Public hosts are fetched from, by every route."""
    urls = ("http://good.test/", "http://good6.test/a.png", f"http://{hosts.GOOD[0]}/", f"http://[{hosts.GOOD[1]}]/")
    answers = [client.post(route.path, **route.with_image(url)) for route in found for url in urls]
    well = sum(answer.status_code == 200 for answer in answers)
    board.add(
        PART, "pictures of public hosts, by every route", f"{len(answers)} answered", f"{well}", well == len(answers)
    )


def _spelled() -> list[str]:
    return [f"http://{host}/" for host in TRAPS] + list(URLS)


def _named() -> list[str]:
    return [f"http://{name}/" for name in FOREIGN_NAMES]


def _redirected() -> list[str]:
    """From the good host to the others, at once and by way of itself; and in circles."""
    targets = [target for target in (*_spelled(), *_named()) if target != BACK]
    once = [_redirect(target) for target in targets]
    return once + [_redirect(hop) for hop in once] + [_redirect(_redirect(_redirect(_redirect("http://good.test/"))))]


def _redirect(target: str) -> str:
    return f"http://good.test{hosts.REDIRECT}{quote(target, safe='')}"


def _refused(
    board: Board, what: str, server: Server, found: list[Route], urls: Iterable[str], codes: Set[str] = REFUSALS
) -> None:
    """Each URL by each route: 400 with a code that says why."""
    asked, otherwise = 0, []
    for url in urls:
        for route in found:
            answer = server.client.post(route.path, **route.with_image(url))
            asked += 1
            if answer.status_code != 400 or answer.json()["error"]["code"] not in codes:
                otherwise.append(f"{route.name} {url!r}: {answer.status_code} {answer.text[:150]}")
    for each in otherwise[:20]:
        print(f"  {each}")
    refused = asked - len(otherwise)
    board.add(PART, f"{what}, by every route: refused", f"{asked}", f"{refused}", not otherwise)


def _rebinding(board: Board, server: Server, found: list[Route], look_ups: names.Names) -> None:
    """The first look-up is public and its address dialled; the next is not, and so is refused."""
    first, later, often = 0, 0, 0
    cases = [(route, f"{name}-{i}.test") for i, route in enumerate(found) for name in ("rebind", "rebind6")]
    for route, host in cases:
        asked = [server.client.post(route.path, **route.with_image(f"http://{host}/")) for _ in range(3)]
        first += asked[0].status_code == 200
        later += all((answer.json().get("error") or {}).get("code") == "blocked_url" for answer in asked[1:])
        often += max(look_ups.looked_up[host, kind] for kind in ("A", "AAAA")) == len(asked)
    count = len(cases)
    well = first == later == often == count
    seen = f"{first} fetched from the first address, {later} then refused, {often} looked up once a request"
    board.add(PART, "names that answer public first and private later", f"{count} of each", seen, well)


def _exempt(board: Board, seen: Packets) -> None:
    """A private test host works once the settings name it, and it alone."""
    port = free_port()
    with hosts.serving("127.0.0.1", 0, ()) as picture_host, hosts.serving("127.0.0.1", 0, ()) as other:
        at = picture_host.server_address[1]
        seen.known |= {("127.0.0.1", port), ("127.0.0.1", at)}
        settings = {"images": {"fetch": {"private_hosts": [f"127.0.0.1:{at}"]}}}
        with board.serve(f"{PART}-exempt", settings, fake_step_s=FAKE_STEP_S, port=port) as server:
            found = routes(server.client)
            urls = [f"http://127.0.0.1:{at}/a.png" for _ in found]
            answers = [server.client.post(r.path, **r.with_image(url)) for r, url in zip(found, urls, strict=True)]
            others = [f"http://127.0.0.1:{other.server_address[1]}/", f"http://localhost:{at}/", "http://127.0.0.1/"]
            _refused(board, "its neighbours, other ports and names", server, found, others)
        time.sleep(SETTLE_S)
    well = sum(answer.status_code == 200 for answer in answers)
    strange = seen.strange.total()
    what = "a local host that `images.fetch.private_hosts` names: answered, and packets elsewhere"
    board.add(PART, what, f"{len(answers)}, 0", f"{well}, {strange}", well == len(answers) and not strange)
