"""A collector of traces on loopback: keeps the bytes that it is sent, and reads the spans in them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.waiting import wait_until

ERROR = 2
"""`STATUS_CODE_ERROR`."""


@dataclass(frozen=True)
class Span:
    """A span as it was received. Times in nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    end: int
    status: int
    attributes: dict[str, Any]

    @property
    def length(self) -> int:
        """How long it took."""
        return self.end - self.start


class Collector:
    """`url`: what `OTEL_EXPORTER_OTLP_ENDPOINT` is set to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[bytes] = []
        self.resources: list[dict[str, Any]] = []
        self._spans: list[Span] = []
        self._lock = threading.Lock()

    def take(self, body: bytes) -> None:
        """Reads what was sent."""
        sent = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.received.append(body)
            for of_process in sent.resource_spans:
                self.resources.append(_attributes(of_process.resource.attributes))
                self._spans += [_span(span) for scope in of_process.scope_spans for span in scope.spans]

    def spans(self, name: str | None = None) -> list[Span]:
        """Those received until now, of this name, in the order of their starts."""
        with self._lock:
            return sorted((s for s in self._spans if name in (None, s.name)), key=lambda span: span.start)

    def wait_for(self, name: str, count: int = 1) -> list[Span]:
        """Waits for so many spans of this name. Their children were received before them."""
        wait_until(lambda: len(self.spans(name)) >= count)
        return self.spans(name)

    def below(self, parent: Span) -> list[Span]:
        """Its children."""
        return [span for span in self.spans() if span.parent == parent.id]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector, while inside."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def variables(url: str, **more: str) -> dict[str, str]:
    """The environment of a process that is to send its spans there at once. `more`: without `OTEL_`."""
    given = {"EXPORTER_OTLP_ENDPOINT": url, "BSP_SCHEDULE_DELAY": "20", "EXPORTER_OTLP_TIMEOUT": "5", **more}
    return {f"OTEL_{name}": value for name, value in given.items()}


@contextmanager
def sending_to(url: str, **more: str) -> Iterator[None]:
    """The same for this process, while inside."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(url, **more).items():
            patch.setenv(name, value)
        yield


def uncovered(span: Span, children: list[Span]) -> int:
    """Nanoseconds of a span in which none of `children` ran."""
    left, until = span.length, span.start
    for child in sorted(children, key=lambda child: child.start):
        start = max(until, child.start)
        left -= max(0, child.end - start)
        until = max(until, child.end)
    return left


def _span(span: Any) -> Span:
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code,
        _attributes(span.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
