"""The log, the Prometheus metrics and the traces. Knows no HTTP framework and no model."""

import logging
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, TextIO, TypeVar, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from blip_serve.errors import ConfigurationError
from blip_serve.settings import LogSettings, collector

if TYPE_CHECKING:
    from blip_serve.tracing import Traced, Tracing

C = TypeVar("C")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


TRACING = "blip_serve.tracing"
"""Imported when it is wanted, since it imports OpenTelemetry's SDK: the extra `otel`."""


class Telemetry:
    """The log, the metrics and the traces of one service. Each method records one kind of event.

    `tracing` is `None` unless OpenTelemetry's variables name a collector. Whoever makes a `Telemetry` closes it.
    """

    def __init__(self, settings: LogSettings) -> None:
        self.log = make_log(settings)
        self.tracing = open_tracing(self.log)
        self._registry = registry = CollectorRegistry()

        def histogram(
            name: str, text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = SECONDS
        ) -> Histogram:
            return Histogram(f"blip_serve_{name}", text, labels, buckets=buckets, registry=registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"blip_serve_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"blip_serve_{name}", text, labels, registry=registry)

        self._request_seconds = histogram("request_seconds", "Whole request", ("route", "method", "status"))
        self._fetch_seconds = histogram("image_fetch_seconds", "Getting one image's bytes")
        self._decode_seconds = histogram("image_decode_seconds", "Decoding and resizing one image")
        self._queue_seconds = histogram("queue_wait_seconds", "A request's wait from its first work to its first step")
        self._batch_size = histogram("batch_size", "Works in one step", ("phase",), SIZES)
        self._device_seconds = histogram("device_seconds", "One step on the device", ("phase",))
        self._cache_hits = counter("image_cache_hits", "Images whose state was there", ("model",))
        self._cache_misses = counter("image_cache_misses", "Images that had to be decoded", ("model",))
        self._rejected = counter("rejected_requests", "Requests refused before any work", ("code",))
        self._cancelled = counter("cancelled_requests", "Requests whose client left")
        self._used_tokens = counter(
            "used_tokens", "Tokens of requests answered, `cached` being among `image`", ("key", "model", "kind")
        )
        self._key_requests = counter("key_requests", "Requests of an API key", ("key", "status"))
        self._errors = counter("errors", "Error answers by code", ("code",))
        self._refused = counter("refused_connections", "Connections that the HTTP bounds ended", ("reason",))
        self._in_flight = gauge("in_flight_requests", "Requests being answered")
        self._queue_cost = gauge("queue_cost", "Cost of the requests admitted and not yet answered, in captions")
        self._queue_requests = gauge("queue_requests", "Requests admitted and not yet answered")
        self._background_cost = gauge("background_queue_cost", "The part of `queue_cost` that is background requests'")
        self._background_waiting = gauge(
            "background_waiting_requests", "Background requests that wait for room in the queue"
        )
        self._model_state = gauge("model_state", "1 for the state a model is in", ("model", "state"))
        self._cache_bytes = gauge("image_cache_bytes", "Image states kept", ("model", "kind"))
        self._explain_bytes = gauge("explain_weights_bytes", "Weights loaded at the first explanation", ("model",))
        self._device_memory = gauge("device_memory_bytes", "Memory the device's allocator holds")

    def close(self) -> None:
        """Sends the last spans; blocks for some seconds at most. Log and metrics go on."""
        if self.tracing is not None:
            self.tracing.close()

    def traced(self) -> "Traced | None":
        """The span of the request that runs here, if there is one."""
        return None if self.tracing is None else self.tracing.here()

    def page(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Name, labels and value of every sample on the page, without the times at which the counters were created."""
        for metric in self._registry.collect():
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    yield sample.name, sample.labels, sample.value

    def request_started(self) -> None:
        """A request arrived."""
        self._in_flight.inc()

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is the template of its path, so that the label has few values."""
        self._in_flight.dec()
        self._request_seconds.labels(route, method, str(status)).observe(seconds)

    def request_cancelled(self) -> None:
        """A client disconnected before it was answered."""
        self._cancelled.inc()

    def request_failed(self, code: str, rejected: bool) -> None:
        """A request was answered with an error. `rejected`: it was refused for lack of room, before any work."""
        self._errors.labels(code).inc()
        if rejected:
            self._rejected.labels(code).inc()
        if (traced := self.traced()) is not None:
            traced.note({"blip_serve.error_code": code})

    def key_used(self, key: str, status: int) -> None:
        """A request of an API key was answered."""
        self._key_requests.labels(key, str(status)).inc()

    def used(self, key: str, model: str, **tokens: int) -> None:
        """A request used so many `tokens` of each kind."""
        for kind, count in tokens.items():
            self._used_tokens.labels(key, model, kind).inc(count)
        if (traced := self.traced()) is not None:
            traced.used(**tokens)

    def connection_refused(self, reason: str) -> None:
        """A connection was closed because it exceeded one of the HTTP limits."""
        self._refused.labels(reason).inc()

    def image_fetched(self, seconds: float) -> None:
        """The bytes of one image were received."""
        self._fetch_seconds.observe(seconds)

    def image_prepared(self, model: str, cached: bool, seconds: float) -> None:
        """One image was found in the cache, or decoded in `seconds`."""
        (self._cache_hits if cached else self._cache_misses).labels(model).inc()
        if not cached:
            self._decode_seconds.observe(seconds)

    def queued(self, seconds: float) -> None:
        """A request's first work started, after `seconds` in the queue."""
        self._queue_seconds.observe(seconds)

    def step_started(self, phase: str, works: int) -> None:
        """The device started a step."""
        self._batch_size.labels(phase).observe(works)

    def step_ended(self, phase: str, seconds: float) -> None:
        """The device ended a step."""
        self._device_seconds.labels(phase).observe(seconds)

    def model_changed(self, model: str, state: str, states: tuple[str, ...]) -> None:
        """A model entered `state`, one of `states`."""
        for known in states:
            self._model_state.labels(model, known).set(known == state)

    def watch_queue(self, cost: Callable[[], float], requests: Callable[[], float]) -> None:
        """Sets the functions that the queue's gauges read."""
        self._queue_cost.set_function(cost)
        self._queue_requests.set_function(requests)

    def watch_background(self, cost: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Where the gauges of background requests read."""
        self._background_cost.set_function(cost)
        self._background_waiting.set_function(waiting)

    def watch_cache(self, model: str, kind: str, cache: C, size: Callable[[C], float]) -> None:
        """Sets the function that a cache's gauge reads, in bytes. The gauge does not keep the cache alive."""
        _watch(self._cache_bytes.labels(model, kind), cache, size)

    def watch_explaining(self, model: str, network: C, size: Callable[[C], float]) -> None:
        """The same for the weights that a model explains by, beside those that it serves with."""
        _watch(self._explain_bytes.labels(model), network, size)

    def watch_device(self, memory: Callable[[], float]) -> None:
        """Sets the function that the device memory's gauge reads, in bytes."""
        self._device_memory.set_function(memory)


def open_tracing(log: structlog.stdlib.BoundLogger) -> "Tracing | None":
    """Traces, if OpenTelemetry's variables ask for them; they are to be closed.

    Where they cannot be had, that is a warning: the variables are often set for a whole cluster or machine, and a
    service that would not start for them would be lost to its users. OpenTelemetry itself holds it so.
    """
    try:
        if collector() is None:
            return None
        tracing: Tracing = import_module(TRACING).Tracing()
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        log.warning("traces_off", reason="the extra `otel` is not installed: pip install 'blip-serve[otel]'")
    except (ConfigurationError, ValueError) as error:  # the latter: a variable that the SDK cannot read
        log.warning("traces_off", reason=str(error))
    else:
        return tracing
    return None


def _watch(gauge: Gauge, watched: C, size: Callable[[C], float]) -> None:
    """Has the gauge read `size` of what is watched, and 0 once that is gone."""
    reference = weakref.ref(watched)

    def read() -> float:
        alive = reference()
        return 0.0 if alive is None else size(alive)

    gauge.set_function(read)


def make_log(settings: LogSettings) -> structlog.stdlib.BoundLogger:
    """A logger that writes one line per event to standard error."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            sort_keys=False,
            exception_formatter=_write_traceback,
        )
    )
    log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(cast(TextIO, Unfailing(sys.stderr))),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if settings.format == "json" else []),
            renderer,
        ],
    )
    return log


class Unfailing:
    """A file whose errors are ignored. If the log cannot be written, lines are lost, but requests do not fail."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Writes `text`, or does nothing if that fails."""
        with suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        """Flushes, or does nothing if that fails."""
        with suppress(OSError, ValueError):
            self._file.flush()


class LibraryLog(logging.Handler):
    """Writes the log records of libraries to our log."""

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        text = printable(record.getMessage().strip())
        self._log.log(record.levelno, "library", name=record.name, text=text, exc_info=record.exc_info or None)


def _write_traceback(out: TextIO, error: structlog.typing.ExcInfo) -> None:
    """Writes a traceback without local variables, which hold keys and captions.

    Its lines are indented, so that no error message can look like a line of the log.
    """
    for line in "".join(traceback.format_exception(*error)).splitlines():
        out.write(f"\n    {printable(line)}")


def printable(text: str) -> str:
    """`text` in one line: characters that cannot be printed are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
