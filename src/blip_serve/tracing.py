"""Spans of requests and of bulk runs, as OpenTelemetry exports them: when and how much, never what was sent.

Needs the extra `otel`; `telemetry.py` imports it only where the standard variables name a collector.
"""

import atexit
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode

from blip_serve import __version__
from blip_serve.errors import ServiceError
from blip_serve.stages import Interval, Stages

Attributes = Mapping[str, str | int | float]

FLUSH_S = 3.0
"""Seconds for the last spans to be sent when the service ends."""
HERE = context.create_key("blip-serve-request")
OPERATIONS = {
    "embed": "embeddings",
    "caption": "generate_content",
    "answer": "generate_content",
    "generate": "generate_content",
}
"""Tasks under the names of OpenTelemetry's conventions for generative models, `gen_ai.operation.name`; the others are
not among these."""


class Traced:
    """A span under way. `stages`: to be told when the request's stages ran; `None` for a span that is not sampled.

    Several threads may tell `stages`; all else is for one.
    """

    def __init__(self, tracer: trace.Tracer, name: str, kind: SpanKind, parent: Context | None) -> None:
        self._tracer = tracer
        self._since = time.time_ns() - time.monotonic_ns()  # once, so that children lie within it if a clock is set
        self._span = tracer.start_span(name, parent, kind, start_time=self._at(time.monotonic()))
        self.stages = Stages() if self._span.is_recording() else None

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @contextmanager
    def here(self) -> Iterator[None]:
        """What starts inside, on this thread or in tasks made here, is below this span."""
        token = context.attach(context.set_value(HERE, self, trace.set_span_in_context(self._span)))
        try:
            yield
        finally:
            context.detach(token)

    def named(self, name: str) -> None:
        """Its name, if it is known only later."""
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        """Sets attributes. None may hold what a client sent, but names that the service knows."""
        self._span.set_attributes(dict(attributes))

    def asked(self, task: str) -> None:
        """It is a request of this task."""
        operation = OPERATIONS.get(task, task)
        self.note({"blip_serve.task": task, "gen_ai.operation.name": operation, "gen_ai.provider.name": "blip_serve"})

    def leased(self, model: str) -> None:
        """The model of this id answers it."""
        self.note({"gen_ai.request.model": model})

    def used(self, image: int, text: int, cached: int, generated: int) -> None:
        """It used so many tokens of each kind, `cached` being among `image`."""
        self.note({"gen_ai.usage.input_tokens": image + text, "gen_ai.usage.output_tokens": generated})
        self.note({"gen_ai.usage.cache_read.input_tokens": cached, "blip_serve.usage.image_tokens": image})

    def failed(self, code: str) -> None:
        """It failed, by our fault. The error's message is not told: it may quote the client."""
        self.note({"error.type": code})
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """Ends it, and makes spans of its stages."""
        if self.stages is not None:
            for stage, interval in self.stages.stages():
                self._child(stage, interval, self._span)
            if phases := self.stages.phases():
                whole = Interval(
                    min(each.start for _, each in phases),
                    max(each.end for _, each in phases),
                    sum(each.busy_s for _, each in phases),
                    sum(each.count for _, each in phases),
                )
                device = self._child("device", whole, self._span)
                for phase, interval in phases:
                    self._child(phase, interval, device)
        self._span.end(self._at(time.monotonic()))

    def _child(self, name: str, interval: Interval, parent: Span) -> Span:
        counted = {"blip_serve.count": interval.count, "blip_serve.busy_s": round(interval.busy_s, 6)}
        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(parent, Context()),
            attributes=counted if interval.count > 1 else None,
            start_time=self._at(interval.start),
        )
        span.end(self._at(interval.end))
        return span

    def _at(self, monotonic: float) -> int:
        """Nanoseconds since 1970."""
        return self._since + int(monotonic * 1e9)


class Tracing:
    """Makes spans and exports them in batches from a thread of its own, within the bounds of `OTEL_BSP_*`.

    All of OpenTelemetry's variables for traces hold: sampler, resource, limits, exporter. What cannot be sent is lost.
    """

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("blip_serve", __version__)
        atexit.register(self.close)

    def begin(self, name: str) -> Traced:
        """A span of work in this process, below the current one. The caller must `end` it."""
        return Traced(self._tracer, name, SpanKind.INTERNAL, None)

    @contextmanager
    def work(self, name: str) -> Iterator[Traced]:
        """Such a span around what is done inside. An exception is an error, told by its code or its type."""
        with _around(self.begin(name)) as traced:
            try:
                yield traced
            except Exception as error:
                traced.failed(error.code if isinstance(error, ServiceError) else type(error).__name__)
                raise

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Traced]:
        """The span of a request from another process, below the one that `headers` name, if they name one."""
        with _around(Traced(self._tracer, name, SpanKind.SERVER, propagate.extract(headers, Context()))) as traced:
            yield traced

    def here(self) -> Traced | None:
        """The request that runs here."""
        return cast(Traced | None, context.get_value(HERE))

    def close(self) -> None:
        """Sends what is left, for `FLUSH_S` seconds at most. Blocks."""
        atexit.unregister(self.close)
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(FLUSH_S)


@contextmanager
def _around(traced: Traced) -> Iterator[Traced]:
    try:
        with traced.here():
            yield traced
    finally:
        traced.end()


def _resource() -> Resource:
    """What the variables say of this process; its name, where they give none."""
    found = Resource.create({"service.version": __version__})
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "blip-serve"}))
    return found
