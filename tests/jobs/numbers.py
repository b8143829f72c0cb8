"""A source of numbers and an operator that computes with them, for tests of what runs them."""

import asyncio
import json
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blip_serve.errors import DeadlineExceeded, InvalidInput, ServiceError
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.manifest import Manifest
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.plan import WHOLE, Shard
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import ColumnType, Cut, Dropped, Fields, Processed, Row
from blip_serve.jobs.run import Plan, Run
from blip_serve.jobs.sinks.jsonl import JsonlSink
from blip_serve.jobs.tally import Tally
from blip_serve.settings import ImageSettings
from blip_serve.tasks.request import Request

BAD, LATE = InvalidInput("It is bad.", code="bad"), DeadlineExceeded("It is late.")


@dataclass(frozen=True)
class Numbers:
    """Rows with the numbers from 0, `size` to a cut at most. `broken`: rows that could not be read."""

    total: int
    size: int = 10
    broken: tuple[int, ...] = ()

    def cuts(self, size: int) -> Iterator[Cut]:
        """Small ones, whatever is asked for."""
        for index, start in enumerate(range(0, self.total, self.size)):
            yield Cut(index, start, min(self.size, self.total - start), start)

    def rows(self, cut: Cut) -> Iterator[Row]:
        """All of a cut as the source has it, though a limit may have made it shorter."""
        for number in range(cut.where, min(cut.where + self.size, self.total)):
            error = BAD if number in self.broken else None
            yield Row(number, f"row {number}", {} if error else {"number": number, "double": "old"}, error=error)

    def identity(self) -> Mapping[str, str]:
        """How many."""
        return {"numbers": str(self.total)}

    def columns(self) -> Mapping[str, ColumnType]:
        """Two."""
        return {"number": "integer", "double": "string"}

    def count(self) -> int | None:
        """All."""
        return self.total


@dataclass(frozen=True, slots=True)
class Double(Operator):
    """Doubles the number. Later rows of a few end earlier. `failing`: the errors of rows. `odd`: whether odd numbers
    are kept. `unfit`: rows whose column no sink can hold."""

    failing: Mapping[int, ServiceError] = field(default_factory=dict)
    odd: bool = True
    unfit: tuple[int, ...] = ()

    @property
    def needs_picture(self) -> bool:
        """No."""
        return False

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """One, which the source has too."""
        return {"double": "number"}

    @property
    def score(self) -> str | None:
        """One of the source."""
        return "number"

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields | Dropped:
        """The double."""
        number = int(row.fields["number"])
        for _ in range(7 - number % 7):
            await asyncio.sleep(0)
        if number in self.failing:
            raise self.failing[number]
        made = {"double": float("nan") if number in self.unfit else 2 * number}
        return made if self.odd or not number % 2 else Dropped("odd", made)


@dataclass
class Place:
    """A run's destination and its state, in a folder. `seen`: the rows that were processed."""

    folder: Path
    seen: MutableSequence[Processed] = field(default_factory=list)

    def job(self, source: Numbers, operator: Operator) -> Job:
        """Writes JSON lines."""
        state = self.folder / "state"
        sink = JsonlSink(self.folder / "out.jsonl", state / "parts")
        return Job(source, operator, sink, Rejects(self.folder / "rejects.jsonl", state / "rejects"), at_once=4)

    def run(
        self,
        source: Numbers,
        operator: Operator | None = None,
        limit: int | None = None,
        retry: bool = False,
        shard: Shard = WHOLE,
    ) -> Tally:
        """Runs to the end."""

        async def process(run: Run, job: Job) -> Tally:
            async with open_pictures(ImageSettings()) as pictures:
                return await run.process(Pipeline(job, nobody, pictures, self.seen.append).segments)

        job = self.job(source, operator or Double())
        with Manifest(self.folder / "state") as manifest:
            return asyncio.run(process(Run(job, manifest, shard, limit, retry), job))

    def plan(self, source: Numbers, limit: int | None = None, retry: bool = False, shard: Shard = WHOLE) -> Plan:
        """What a run would do."""
        with Manifest(self.folder / "state") as manifest:
            return Run(self.job(source, Double()), manifest, shard, limit, retry).plan()

    @property
    def written(self) -> list[int]:
        """The numbers in the output."""
        return [row["number"] for row in lines(self.folder / "out.jsonl")]

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """The rows in the file of rejects."""
        path = self.folder / "rejects.jsonl"
        return lines(path) if path.exists() else []


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def nobody(request: Request[Any], /) -> Any:
    """Answers no request."""
    raise AssertionError(request)


def numbers_of(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which rows these are."""
    return [row["row"] for row in rows]
