"""Asking again."""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from blip_serve.domain import Caption
from blip_serve.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    PermissionDenied,
    RateLimited,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from blip_serve.jobs.asking import IN_A_ROW, Asking, Patience, ServiceGone, ends_run
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.request import Request

ResultT = TypeVar("ResultT")
REQUEST = EmbedRequest((Caption("a star", "alt"),))


class Failing:
    """Fails so many times, then gives an answer. Time passes only while it is waited."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.tries = 0
        self.waits: list[float] = []

    async def run(self, request: Request[ResultT], /) -> ResultT:
        """One try."""
        self.tries += 1
        if self._errors:
            raise self._errors.pop(0)
        answer: Any = "answer"
        return answer  # type: ignore[no-any-return]

    async def sleep(self, seconds: float) -> None:
        """Takes no time."""
        self.waits.append(seconds)

    def clock(self) -> float:
        """The time that was waited."""
        return sum(self.waits)

    def asking(self, patience: Patience | None = None) -> Asking:
        """Asks it."""
        return Asking(self.run, patience or Patience(), sleep=self.sleep, clock=self.clock)

    def ask(self, patience: Patience | None = None) -> Any:
        """The answer."""
        return asyncio.run(self.asking(patience)(REQUEST))


PASSING = [
    Overloaded("full"),
    RateLimited("slow"),
    Unavailable("loading", code="loading"),
    OutOfMemory("none"),
    Unavailable("lost"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: ServiceError) -> None:
    service = Failing(error, error)
    assert (service.ask(), service.tries, service.waits) == ("answer", 3, [0.5, 1.0])


def test_waits_grow_to_the_longest_and_end_with_the_tries() -> None:
    service = Failing(*[Overloaded("full")] * 9)
    with pytest.raises(Overloaded):
        service.ask(Patience(tries=6, first_wait_s=1, longest_wait_s=5))
    assert (service.tries, service.waits) == (6, [1, 2, 4, 5, 5])


def test_a_wait_is_no_shorter_than_the_service_says() -> None:
    service = Failing(RateLimited("slow", retry_after=40), Overloaded("full", retry_after=0))
    assert (service.ask(), service.waits) == ("answer", [40, 1.0])


def test_where_the_time_would_not_suffice_the_error_comes_at_once() -> None:
    service = Failing(*[RateLimited("slow", retry_after=40)] * 9)
    with pytest.raises(RateLimited):
        service.ask(Patience(seconds=100))
    assert service.waits == [40, 40]


def asked(service: Failing, requests: int) -> list[str]:
    """What becomes of so many requests, one after the other."""

    async def run() -> list[str]:
        asking, found = service.asking(Patience(tries=2, seconds=60)), []
        for _ in range(requests):
            try:
                found.append(str(await asking(REQUEST)))
            except (ServiceError, ServiceGone) as error:
                found.append(type(error).__name__)
        return found

    return asyncio.run(run())


def test_a_service_that_is_gone_ends_the_run() -> None:
    gone = Failing(*[Unavailable("No answer.")] * 2 * IN_A_ROW)
    assert asked(gone, IN_A_ROW) == ["Unavailable"] * (IN_A_ROW - 1) + ["ServiceGone"]
    assert gone.tries == 2 * IN_A_ROW


def test_a_wait_beyond_all_patience_costs_few_rows() -> None:
    limited = Failing(*[RateLimited("One a day.", retry_after=86400)] * 1000)
    assert asked(limited, IN_A_ROW) == ["RateLimited"] * (IN_A_ROW - 1) + ["ServiceGone"]
    assert limited.waits == []


def test_a_service_that_succeeds_now_and_then_is_not_gone() -> None:
    failing: list[Exception] = [DeadlineExceeded("late")] * (IN_A_ROW - 1)
    service = Failing(*failing, Unavailable("loading", code="loading"))
    assert asked(service, IN_A_ROW) == ["DeadlineExceeded"] * (IN_A_ROW - 1) + ["answer"]


def test_who_finds_it_gone_is_told_what_it_last_said() -> None:
    gone = Failing(*[DeadlineExceeded("It did not answer.")] * IN_A_ROW)
    asking = gone.asking()

    async def run() -> None:
        for _ in range(IN_A_ROW):
            with suppress(DeadlineExceeded):
                await asking(REQUEST)

    with pytest.raises(ServiceGone, match=r"64 requests in a row failed, the last one with: It did not answer$"):
        asyncio.run(run())


def test_one_try_is_one_try() -> None:
    service = Failing(Overloaded("full"))
    with pytest.raises(Overloaded):
        service.ask(Patience(tries=1))
    assert (service.tries, service.waits) == (1, [])


FOR_GOOD = [
    InvalidInput("wrong", param="alt"),
    InternalError("bug"),
    DeadlineExceeded("late"),
    ModelNotFound("no such model", param="model"),
    Unavailable("could not be loaded", code="load_failed"),
    ConfigurationError("no server"),
]


@pytest.mark.parametrize("error", FOR_GOOD, ids=repr)
def test_what_does_not_pass_is_tried_once(error: Exception) -> None:
    service = Failing(error)
    with pytest.raises(type(error)):
        service.ask()
    assert service.tries == 1


OF_THE_RUN = [
    ModelNotFound("no such model", param="model"),
    PermissionDenied("not this model", param="model"),
    Unauthenticated("wrong key"),
    Unavailable("could not be loaded", code="load_failed"),
    InvalidInput("does not do this", code="task_not_supported", param="model"),
    InvalidInput("too hot", param="temperature"),
    InvalidInput("an older server", code="unknown_parameter", param="min_p"),
    InvalidInput("two beams give no three texts", param="n"),
    InvalidInput("too long", code="input_too_long", param="--beginning"),
    ConfigurationError("no server"),
    ServiceGone("64 requests in a row failed"),
]
OF_A_ROW = [
    InvalidInput("broken", code="invalid_image", param="image"),
    InvalidInput("blank", code="empty_input", param="alt"),
    InvalidInput("a column of an option's name", code="input_too_long", param="seed"),
    InvalidInput("nameless"),
    InternalError("no finite score", code="not_finite"),
    Overloaded("full"),
    Unavailable("loading", code="loading"),
    DeadlineExceeded("late"),
    ValueError("bug"),
]


@pytest.mark.parametrize("error", OF_THE_RUN, ids=repr)
def test_what_every_row_would_meet_ends_the_run(error: Exception) -> None:
    assert ends_run(error)


@pytest.mark.parametrize("error", OF_A_ROW, ids=repr)
def test_what_concerns_a_row_does_not(error: Exception) -> None:
    assert not ends_run(error)
