"""Rows that repeat a picture: it is encoded once, and their texts share steps."""

import asyncio
from pathlib import Path

from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.match import MatchOperator
from blip_serve.jobs.rows import Dropped, Fields, Row
from blip_serve.jobs.window import in_order
from blip_serve.tasks.service import Tasks
from tests.jobs.operators.support import row
from tests.support.checkpoints import build
from tests.support.counting import counting
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.tasks import with_service
from tests.support.waiting import wait_until

ROWS, OF_A_PICTURE = 32, 16
PICTURES = [BytesImage(encoded(picture(seed)), "somewhere") for seed in range(ROWS // OF_A_PICTURE)]


def test_a_picture_of_adjacent_rows_is_encoded_once(tmp_path: Path) -> None:
    matcher, operator = load_matcher(build(tmp_path)), MatchOperator("text")

    async def use(tasks: Tasks) -> list[Fields | Dropped]:
        await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
        rows = (row(number, text=f"a dog number {number}") for number in range(ROWS))

        async def apply(each: Row) -> Fields | Dropped:
            return await operator.apply(each, PICTURES[each.number // OF_A_PICTURE], tasks.run)

        return [found async for found in in_order(rows, apply, ROWS)]

    with counting(matcher.network) as counted:
        found = with_service(matcher, use)
    assert len(found) == ROWS
    assert counted["vision_model"] <= 1 + len(PICTURES)  # one for the warm-up
