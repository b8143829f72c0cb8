"""Rows, and what operators ask: a service in this process with a model that writes down what it is asked."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from blip_serve.domain import Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.rows import Dropped, Fields, Row
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.request import Request
from blip_serve.tasks.service import Tasks
from tests.support.pictures import encoded, picture
from tests.support.tasks import with_service
from tests.support.waiting import wait_until

ResultT = TypeVar("ResultT")
ALL: tuple[Task, ...] = ("match", "embed", "caption", "answer")
PICTURE = BytesImage(encoded(picture(1)), "somewhere")


def row(number: int = 0, **fields: Any) -> Row:
    """A row, whose key is made of its number."""
    return Row(number, f"rows.jsonl:{number}", fields)


async def never(request: Request[ResultT], /) -> ResultT:
    """For operators that must ask nothing."""
    raise AssertionError(request)


class Asked:
    """Runs requests by a service's tasks, and keeps them."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self.requests: list[Request[Any]] = []

    async def __call__(self, request: Request[ResultT], /) -> ResultT:
        """The request's result."""
        self.requests.append(request)
        return await self._tasks.run(request)


def applied(
    operator: Operator, *rows: Row, picture: BytesImage | None = PICTURE
) -> tuple[list[Fields | Dropped], list[Request[Any]]]:
    """What an operator makes of rows, one after the other, and what it asks."""

    async def use(tasks: Tasks) -> tuple[list[Fields | Dropped], list[Request[Any]]]:
        await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
        asked = Asked(tasks)
        return [await operator.apply(each, picture, asked) for each in rows], asked.requests

    return with_service(FakeModel(*ALL), use)


def outcome(operator: Operator, given: Row, picture: BytesImage | None = PICTURE) -> Fields | Dropped:
    """What an operator makes of one row."""
    return applied(operator, given, picture=picture)[0][0]


def without_asking(operator: Operator, rows: Sequence[Row]) -> list[Fields | Dropped]:
    """What an operator makes of rows that asks nothing."""
    ask: Ask = never

    async def run() -> list[Fields | Dropped]:
        return [await operator.apply(each, None, ask) for each in rows]

    return asyncio.run(run())
