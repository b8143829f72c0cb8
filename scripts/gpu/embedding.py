"""`bulk embed` in this process: rows a second, beside what the cores decode and what the card encodes."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from blip_serve.domain import EmbedItem
from blip_serve.settings import Settings
from bulk.throughput import Bulk
from gpu.place import Place
from gpu.rows import LARGE_STEP, Row, seconds_of
from tests.support.running import image_bytes

ROWS = {True: 2048, False: 24}
AT_ONCE = 256
MEASURED = {True: 64, False: 8}
"""Pictures that are decoded, then encoded in one step, apart from the run."""
FEW = 8
"""Workers that are tried beside one a core."""


def rows(place: Place) -> Iterator[Row]:
    """A row for each number of workers."""
    decoded, encoded = _alone(place)
    for workers in sorted({min(FEW, place.cores), place.cores}):
        seconds = _run(place, workers)
        note = bound(ROWS[place.on_card] / seconds, decoded * min(workers, place.cores), encoded)
        name = f"bulk embed, rows, {workers} workers"
        yield Row(name, place.name("retrieval"), ROWS[place.on_card], 1000 * seconds, note=note)


def bound(rate: float, decoded: float, encoded: float) -> str:
    """What bounds a run of `rate` rows a second: what of decoding and encoding alone, in pictures a second, is less."""
    what, most = min(("decoding", decoded), ("the tower", encoded), key=lambda each: each[1])
    return (
        f"the workers alone decode {decoded:,.0f} a second, the tower alone encodes {encoded:,.0f}: bound by {what}, "
        f"{rate / most:.0%} of that"
    )


def _alone(place: Place) -> tuple[float, float]:
    """Pictures a second that one core decodes, and that the device encodes."""
    model = place.load("retrieval", **LARGE_STEP)
    count = MEASURED[place.on_card]
    for _ in range(2):  # the first is to warm up
        items = [EmbedItem(image_bytes(data), "hf") for data in place.take(count)]
        started = time.perf_counter()
        prepared = [model.prepare(each) for each in items]
        decoding = time.perf_counter() - started
        encoding, _ = seconds_of(model, prepared, place.device)
    return count / decoding, count / encoding


def _run(place: Place, workers: int) -> float:
    """Seconds of a run, after a short one that loads the model."""
    bulk = Bulk(Settings.of(place.shipped(workers=workers)), AT_ONCE)
    try:
        seconds = 0.0
        for count in (MEASURED[place.on_card], ROWS[place.on_card]):
            with TemporaryDirectory() as parent:
                folder = Path(parent) / "pictures"
                folder.mkdir()
                for number, data in enumerate(place.take(count)):
                    (folder / f"{number:05d}.jpg").write_bytes(data)
                started = time.perf_counter()
                if bulk.embed(folder) != count:
                    raise RuntimeError("bulk embed: not every picture has a vector")
                seconds = time.perf_counter() - started
        return seconds
    finally:
        bulk.close()
