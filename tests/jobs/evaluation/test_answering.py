"""What was answered is kept, and not asked again; what failed is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.jobs.evaluation.answering import Answering, Count, Question
from blip_serve.jobs.evaluation.answers import Answers
from tests.jobs.evaluation.scripted import Drawing, answering


class Asked:
    """Questions that note when they are asked. The one called `fails` fails, if there is one."""

    def __init__(self, count: int, fails: int | None = None) -> None:
        self.asked: list[int] = []
        self._count, self._fails = count, fails

    def __iter__(self) -> Iterator[Question]:
        for number in range(self._count):
            yield Question(f"number {number}", lambda number=number: self._answer(number))  # type: ignore[misc]

    async def _answer(self, number: int) -> bytes:
        if number == self._fails:
            raise InvalidInput("it fails")
        self.asked.append(number)
        return str(number).encode()


async def all_of(asked: Asked, folder: Path, at_once: int = 1) -> list[bytes]:
    with Answers(folder) as answers:
        async with answering(Drawing(), answers, at_once) as made:
            return [each async for each in made.answers("numbers", asked, 10)]


def test_answers_come_in_order_and_are_asked_for_once(tmp_path: Path) -> None:
    first, again = Asked(10), Asked(10)
    wanted = [str(number).encode() for number in range(10)]
    assert asyncio.run(all_of(first, tmp_path, at_once=4)) == wanted
    assert asyncio.run(all_of(again, tmp_path, at_once=4)) == wanted
    assert (sorted(first.asked), again.asked) == (list(range(10)), [])


def test_after_one_that_failed_only_what_has_no_answer_is_asked(tmp_path: Path) -> None:
    failing, again = Asked(10, fails=6), Asked(10)
    with pytest.raises(InvalidInput, match="it fails"):
        asyncio.run(all_of(failing, tmp_path))
    assert failing.asked[:6] == [0, 1, 2, 3, 4, 5]
    asyncio.run(all_of(again, tmp_path))
    assert again.asked[0] == 6


def test_progress_counts_what_a_question_says_and_kept_answers_too(tmp_path: Path) -> None:
    async def counted() -> list[tuple[str, int]]:
        shown: list[tuple[str, int]] = []

        def show(stage: str, total: int) -> "Shown":
            return Shown(stage, total, shown)

        with Answers(tmp_path) as answers:
            async with answering(Drawing(), answers) as made:
                whole = Answering(made.run, None, None, answers, show)  # type: ignore[arg-type]  # it reads no picture
                asked = Asked(2)
                questions = [Question(each.key, each.ask, 5) for each in asked]
                assert len([each async for each in whole.answers("numbers", questions, 10)]) == 2
        return shown

    assert asyncio.run(counted()) == asyncio.run(counted()) == [("numbers", 10), ("numbers", 5), ("numbers", 5)]


class Shown:
    """Notes what is shown."""

    def __init__(self, stage: str, total: int, notes: list[tuple[str, int]]) -> None:
        self._stage, self._notes = stage, notes
        notes.append((stage, total))

    def __enter__(self) -> Count:
        return lambda count: self._notes.append((self._stage, count))

    def __exit__(self, *error: object) -> None:
        return None


def test_another_model_protocol_number_type_or_data_is_not_mixed_in(tmp_path: Path) -> None:
    agreed = {"digest": "sha256:1", "protocol": "paper", "dtype": "float32", "data": "2"}
    with Answers(tmp_path) as answers:
        answers.agree(agreed)
    for name in agreed:
        with Answers(tmp_path) as answers, pytest.raises(ConfigurationError, match=rf"\({name} was ") as found:
            answers.agree(agreed | {name: "other"})
        assert f"another --out; or, to begin anew, delete {tmp_path}" in str(found.value)
