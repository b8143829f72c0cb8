"""How the throughput of bulk runs is judged, and what is measured of the model alone."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bench.pictures import Pictures
from bulk.photos import photos
from bulk.throughput import ASKED, Alone, Block, Bulk, Model, lines, settings_for, share_of
from tests.support.checkpoints import SMALL, build

ALONE = Alone(engine=0.15, decode=0.02)
IDEAL = Block(rows=100, seconds=16.0, before=ALONE, after=ALONE)


def test_the_most_possible_is_the_engine_and_decoding_on_all_cores() -> None:
    assert IDEAL.share(cores=2) == pytest.approx(1.0)
    assert IDEAL.share(cores=1) > 1


@pytest.mark.parametrize(("seconds", "met"), [(16.4, True), (16.6, False)])
def test_the_share_falls_with_the_time(seconds: float, met: bool) -> None:
    assert (share_of([replace(IDEAL, seconds=seconds)], cores=2) >= ASKED) is met


def test_a_machine_that_slows_down_slows_what_is_possible() -> None:
    slow = Alone(engine=0.30, decode=0.04)
    assert Block(100, 24.0, ALONE, slow).share(cores=2) == pytest.approx(1.0)


def test_the_share_is_the_median_of_the_blocks() -> None:
    blocks = [IDEAL, replace(IDEAL, seconds=160.0), IDEAL]
    assert share_of(blocks, cores=2) == pytest.approx(1.0)
    assert "10.0%" in list(lines({"640x480": blocks}, cores=2))[-1]


def test_a_disturbed_block_counts_only_if_all_are() -> None:
    disturbed = replace(IDEAL, seconds=32.0, others=0.4)
    assert share_of([disturbed, IDEAL], cores=2) == pytest.approx(1.0)
    assert share_of([disturbed], cores=2) == pytest.approx(0.5)


def test_the_model_alone_and_a_bulk_run_embed_pictures(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", SMALL)
    alone = Model(folder).alone(Pictures(0).take(8))
    assert alone.engine > 0
    assert alone.decode > 0.001
    bulk = Bulk(settings_for(folder), at_once=4)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index, picture in enumerate(Pictures(1).take(9)):
        (pictures / f"{index}.jpg").write_bytes(picture)
    try:
        assert bulk.embed(pictures) == 9
    finally:
        bulk.close()


def test_large_photos_have_12_megapixels() -> None:
    [photo] = photos(1)
    with Image.open(BytesIO(photo)) as picture:
        assert picture.width * picture.height == 12_000_000
