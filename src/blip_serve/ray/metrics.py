"""A replica's metrics by way of Ray's own exporter: a scraper does not reach replicas one by one."""

import asyncio

from ray.serve.metrics import Gauge

from blip_serve.telemetry import Telemetry

EVERY_S = 5.0


async def export(telemetry: Telemetry) -> None:
    """Hands every sample on, again and again: `blip_serve_x` is `ray_blip_serve_x`, with the replica as labels.

    Ray's gauges hold what is counted already; `rate` and `histogram_quantile` read them as they read counters.
    """
    gauges: dict[str, Gauge] = {}
    while True:
        for name, labels, value in telemetry.samples():
            if name not in gauges:
                gauges[name] = Gauge(name, tag_keys=tuple(labels))
            gauges[name].set(value, dict(labels))
        await asyncio.sleep(EVERY_S)
