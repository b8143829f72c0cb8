"""Exports a replica's metrics through Ray, because Prometheus cannot scrape single replicas."""

import asyncio

from ray.serve.metrics import Gauge

from blip_serve.telemetry import Telemetry

EVERY_S = 5.0


async def export(telemetry: Telemetry) -> None:
    """Copies every sample to a Ray gauge, every `EVERY_S` seconds, for ever.

    `blip_serve_x` becomes `ray_blip_serve_x`, with labels for the replica. Counters are copied to gauges too; `rate`
    and `histogram_quantile` work with these as well.
    """
    gauges: dict[str, Gauge] = {}
    while True:
        for name, labels, value in telemetry.samples():
            if name not in gauges:
                gauges[name] = Gauge(name, tag_keys=tuple(labels))
            gauges[name].set(value, dict(labels))
        await asyncio.sleep(EVERY_S)
