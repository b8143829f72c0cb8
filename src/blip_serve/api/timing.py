"""The `server-timing` header: where a request's time went."""

from blip_serve.tasks.request import Timings


def server_timing(timings: Timings) -> dict[str, str]:
    """The header, in milliseconds a stage."""
    stages = {"fetch": timings.fetch, "decode": timings.decode, "queue": timings.queue, "device": timings.device}
    return {"server-timing": ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.items())}


def stages(header: str) -> dict[str, float]:
    """The header as fields of a log line: `fetch_ms` and so on."""
    parts = (part.partition(";dur=") for part in header.split(", ") if part)
    return {f"{stage}_ms": float(milliseconds) for stage, _, milliseconds in parts}
