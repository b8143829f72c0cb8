"""Random and damaged requests: there must be no 5xx, no broken error body, no crash and no growth of memory."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode

from bench.process import Server
from scoreboard.board import Board, log_of
from scoreboard.fuzzing import grammar
from scoreboard.fuzzing.judge import Judge
from scoreboard.fuzzing.pictures import damaged
from scoreboard.memory import MB, Sample, growth
from scoreboard.routes import JSON, Route, routes
from scoreboard.watch import watched

PART = "fuzz"
COUNT, QUICK_COUNT = 20_000, 1_500
LIMIT_S = 1500.0
SHARE = 0.25
"""Of all requests: damaged pictures, which fill caches and allocator; then requests from the document, as many by the
grammar, and damaged pictures up to the count."""
MOST_GROWTH = 0.02
SEED = 11
SETTINGS = {
    "server": {"request_timeout_s": 20},
    "limits": {"max_images": 8, "max_captions": 100, "max_pairs": 400, "max_new_tokens": 32, "max_beams": 4},
    "images": {
        "max_pixels": 1_000_000,
        "max_decode_bytes": 2**26,
        "cache_tokens_bytes": 2**22,
        "cache_vectors_bytes": 2**18,
        "fetch": {"timeout_s": 1},
    },
}
"""Small limits, so that caches are soon full and memory can stay flat."""


def run(board: Board) -> None:
    """Against the embedded checkpoints, one request at a time; every choice is drawn from a seed."""
    count = QUICK_COUNT if board.quick else COUNT
    judge = Judge()
    with board.serve(PART, SETTINGS) as server, watched(server.process.pid) as watch:
        started = time.monotonic()
        sender = Sender(server, judge, started + LIMIT_S)
        files = damaged(SEED)
        _pictures(sender, files, round(count * SHARE))
        warm = time.monotonic() - started
        before = judge.requests
        _document(sender, round(count * SHARE))
        from_document = judge.requests - before
        _grammar(sender, routes(server.client), round(count * SHARE))
        by_grammar = judge.requests - before - from_document
        _pictures(sender, files, count)
        seconds = time.monotonic() - started
        sane = server.client.get("/readyz").status_code == 200 and server.process.poll() is None
    seen = (
        f"{judge.requests} in {seconds:.0f} s: {from_document} from the document, {by_grammar} by the image grammar, "
    )
    seen += f"{judge.requests - from_document - by_grammar} damaged pictures"
    board.add(PART, "requests", f">= {count}", seen, judge.requests >= count)
    _report(board, judge, sane, watch.after(warm))


class Sender:
    """Sends, has each answer judged, and stops sending at `deadline`."""

    def __init__(self, server: Server, judge: Judge, deadline: float) -> None:
        self.url = server.url
        self.judge = judge
        self._deadline = deadline
        self._client = server.client

    @property
    def late(self) -> bool:
        """Whether the time is up, or nobody answers any more."""
        return time.monotonic() > self._deadline or self.judge.unanswered > 10

    def send(self, path: str, **content: Any) -> None:
        """A POST with `content` as httpx takes it."""
        sent = f"POST {path} {content!r}"
        try:
            answer = self._client.post(path, **content)
        except httpx.TransportError as error:
            self.judge.lost(sent, error)
        else:
            self.judge.answered(sent, answer.status_code, answer.headers, answer.content)

    def call(self, case: Case, session: requests.Session) -> None:
        """A request of schemathesis's."""
        sent = f"{case.method} {case.formatted_path} {case.body!r}"
        try:
            answer = case.call(base_url=self.url, session=session)
        except requests.exceptions.InvalidHeader:
            return  # the client does not send it
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            self.judge.lost(sent, error)
        else:
            headers = {name: values[0] for name, values in answer.headers.items()}
            self.judge.answered(sent, answer.status_code, headers, answer.content)


def _document(sender: Sender, count: int) -> None:
    """What the OpenAPI document allows, and what it does not."""
    schema = schemathesis.openapi.from_url(f"{sender.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    taking = sum(operation.method == "post" for operation in operations)
    with requests.Session() as session:
        session.trust_env = False
        for operation, mode in itertools.product(operations, modes):
            _draw(
                operation.as_strategy(generation_mode=mode),
                count // (taking * len(modes)),
                lambda case: sender.call(case, session),
                sender,
            )


def _grammar(sender: Sender, found: Sequence[Route], count: int) -> None:
    """Images in every form and place."""
    for route in found:
        strategy = grammar.bodies(route.example, route.fields) if route.kind == JSON else grammar.forms(route.fields)
        _draw(strategy, count // len(found), partial(_send, sender, route), sender)


def _send(sender: Sender, route: Route, drawn: Any) -> None:
    if route.kind == JSON:
        sender.send(route.path, content=drawn, headers={"content-type": JSON})
    else:
        sender.send(route.path, files=drawn or None)


def _pictures(sender: Sender, files: Iterator[bytes], count: int) -> None:
    """Damaged files, uploaded and in JSON, until `count` requests were sent."""
    for number, data in enumerate(files):
        if sender.judge.requests >= count or sender.late:
            return
        if number % 2:
            sender.send("/v1/match", files=[("image", ("a", data)), ("caption", (None, "a red circle"))])
        else:
            body = json.dumps({"input": {"image": grammar.as_base64(data)}})
            sender.send("/v1/embeddings", content=body, headers={"content-type": JSON})


def _draw(strategy: st.SearchStrategy[Any], count: int, use: Callable[[Any], None], sender: Sender) -> None:
    """Uses up to `count` values of `strategy`, the same in each run; fewer where there are no more."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(value: Any) -> None:
        if not sender.late:
            use(value)

    try:
        each()
    except Unsatisfiable:  # an operation without parameters has no negative
        return


def _report(board: Board, judge: Judge, sane: bool, samples: Sequence[Sample]) -> None:
    for wrong in judge.wrong[:20]:
        print(f"  {wrong}")
    add = partial(board.add, PART)
    statuses = ", ".join(f"{status}: {times}" for status, times in sorted(judge.statuses.items()))
    seen = f"{statuses}; {len(judge.codes)} codes of errors"
    add("answers by status", "200 and 400 among them", seen, {200, 400} <= judge.statuses.keys())
    seen = f"{judge.server_errors}; refused for overload (429): {judge.overloaded}"
    add("5xx", "0", seen, not judge.server_errors)
    add("answers out of the envelope, without id, or telling of us", "0", f"{judge.broken}", not judge.broken)
    add("requests not answered", "0", f"{judge.unanswered}", not judge.unanswered)
    add("server still runs and is ready", "yes", "yes" if sane else "no", sane)
    faults = log_of(PART).read_text(errors="replace").count("Traceback")
    add("tracebacks in its log", "0", f"{faults}", not faults)
    rise = growth(samples)
    seen = f"{rise:+.2%}, {samples[0][1] / MB:.0f} to {samples[-1][1] / MB:.0f} MB"
    add("rise of resident memory after the first pictures", f"< {MOST_GROWTH:.0%}", seen, rise < MOST_GROWTH)
