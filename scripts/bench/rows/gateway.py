"""What the service costs a request beyond decoding and the device: over HTTP by stage, and its parts one by one."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import uvloop

from bench.bench import Bench
from bench.bodies import MATCH, Fresh, known, match_body, unknown
from bench.connection import Connection, connect
from bench.measure import alternate
from bench.pictures import captions, data_url
from bench.process import Server, together
from bench.traffic import closed_loop
from blip_serve.api.match import Match, MatchBody, MatchResponse
from blip_serve.api.usage import InputUsage, PromptTokensDetails
from blip_serve.catalogue import EMBEDDED
from blip_serve.images.reference import Base64Image, decode_base64

DEMO = EMBEDDED / "demo-retrieval"
GROUP = "gateway"
REPEATS, PART_REPEATS, QUICK = 60, 200, 5
CLIENTS = 16
SECONDS = 6.0
OUTSIDE = ("decode", "queue", "device")
"""Stages of `server-timing` that are not the gateway's."""


def run(bench: Bench) -> None:
    """The gateway before the base checkpoint, in parts, and before the demo checkpoint."""
    with together([bench.serve(bench.checkpoint("base")), bench.serve(DEMO)]) as (base, demo):
        uvloop.run(_stages(bench, base.url))
        uvloop.run(_wire(bench, base.url))
        _parts(bench)
        _demo(bench, demo)


async def _stages(bench: Bench, url: str) -> None:
    """One request at a time: all of its stages, and the rest of what the client waited."""
    pictures = bench.pictures.take(2)
    ways = {"known image": known(pictures[:1], captions(1)), "new image": unknown(Fresh(pictures), captions(1))}
    async with connect(url) as connection:
        for name, bodies in ways.items():
            found = [await _timed(connection, bodies) for _ in range(bench.repeats(REPEATS, QUICK) + 3)][3:]
            for stage in found[0]:
                values = [stages[stage] for stages in found]
                bench.add(
                    GROUP, f"{name}: {stage}", "d", f"base {bench.dtype}", "ms", values, note=NOTES.get(stage, "")
                )


NOTES = {
    "gateway": "wall less decode, queue and device; the client's part of the wire included",
    "fetch": "base64 and digest; a part of the gateway",
}


async def _timed(connection: Connection, bodies: Iterator[bytes]) -> dict[str, float]:
    body = next(bodies)
    started = time.perf_counter()
    answer = await connection.post(MATCH, body)
    wall = 1000 * (time.perf_counter() - started)
    return {"wall": wall, "gateway": wall - sum(answer.stages[stage] for stage in OUTSIDE)} | answer.stages


async def _wire(bench: Bench, url: str) -> None:
    """Requests that never come to a model: one without a body, and one whose model is not there."""
    body = json.loads(match_body(bench.pictures.take(1), captions(1)))
    refused = json.dumps(body | {"model": "unknown"}).encode()
    async with connect(url) as connection:
        asked = {
            "over the wire: an empty request": partial(connection.get, "/livez"),
            "over the wire: 640x480 JPEG received, read and refused for its model": partial(
                connection.post, MATCH, refused
            ),
        }
        for name, ask in asked.items():
            seconds = []
            for _ in range(bench.repeats(PART_REPEATS, QUICK)):
                started = time.perf_counter()
                await ask()
                seconds.append(1000 * (time.perf_counter() - started))
            bench.add(GROUP, name, "d", "none", "ms", seconds)


def _parts(bench: Bench) -> None:
    """The same work in this process, without a server."""
    [picture] = bench.pictures.take(1)
    text = captions(1)[0]
    body = match_body([picture], [text])
    image = Base64Image(data_url(picture).partition(",")[2], "image")
    parts: dict[str, Callable[[], object]] = {
        "JSON to a checked request (pydantic)": lambda: MatchBody.model_validate_json(body),
        "base64 to bytes": lambda: decode_base64(image, len(picture)),
        "digest (SHA-256)": lambda: hashlib.sha256(picture).hexdigest(),
        "answer to JSON (pydantic)": lambda: _answer().model_dump_json(exclude_none=True),
    }
    for name, seconds in alternate(parts, bench.repeats(PART_REPEATS, QUICK), warm=10).items():
        note = f"in process; a JPEG of {len(picture) / 1000:.0f} kB"
        bench.add(GROUP, f"part: {name}", "d", "none", "ms", [1000 * each for each in seconds], note=note)


def _answer() -> MatchResponse:
    match = Match(index=0, image_index=0, caption_index=0, itm_score=0.5, itm_logits=(0.0, 0.0))
    details = PromptTokensDetails(cached_tokens=0, image_tokens=577)
    usage = InputUsage(prompt_tokens=589, total_tokens=589, prompt_tokens_details=details)
    return MatchResponse(id="match", created=0, model="model", protocol="hf", data=[match], usage=usage)


def _demo(bench: Bench, server: Server) -> None:
    """Pairs a second at 16 clients, and what decoding and resizing took of it."""
    pictures, texts = bench.pictures.take(CLIENTS), captions(CLIENTS)
    ways = {"known images": known(pictures, texts), "new images": unknown(Fresh(pictures), texts)}
    seconds = 1.5 if bench.quick else SECONDS
    for name, bodies in ways.items():
        uvloop.run(closed_loop(server.url, CLIENTS, bodies, count=2 * CLIENTS))
        before = _metrics(server)
        traffic = uvloop.run(closed_loop(server.url, CLIENTS, bodies, seconds=seconds))
        after = _metrics(server)
        if traffic.errors:
            raise RuntimeError(f"{name}: {traffic.errors} requests failed")
        row = partial(bench.add, GROUP, side="d", model=f"demo {bench.dtype}")
        row(name=f"{CLIENTS} clients, {name}", unit="pairs/s", values=[traffic.rate])
        decoded = after["count"] - before["count"]
        if decoded:
            each = 1000 * (after["sum"] - before["sum"]) / decoded
            row(name="decode and resize, an image", unit="ms", values=[each], note=f"of those {decoded:.0f}")


def _metrics(server: Server) -> dict[str, float]:
    """The count and the sum of seconds of decodings so far."""
    lines = server.client.get("/metrics").text.splitlines()
    prefix = "blip_serve_image_decode_seconds_"
    return {
        name: float(line.rpartition(" ")[2])
        for line in lines
        for name in ("count", "sum")
        if line.startswith(f"{prefix}{name} ")
    }
