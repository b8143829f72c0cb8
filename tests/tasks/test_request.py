"""What holds for every task: its row in the table, its service tier, its usage."""

import pickle
from dataclasses import replace
from typing import Any, get_args

import pytest

from blip_serve.domain import ANYONE, Caption, Prepared, ServiceTier, WorkClass
from blip_serve.errors import InvalidInput, PermissionDenied
from blip_serve.images.reference import Base64Image
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.match import MatchRequest
from blip_serve.tasks.request import Request, usage_of, work_class
from blip_serve.tasks.service import Tasks
from blip_serve.tasks.table import TASKS
from tests.support.tasks import with_service

REQUEST = MatchRequest((Base64Image("aGVsbG8=", "image"),), (Caption("a dog", "caption"),))
FLEX_ONLY = replace(ANYONE, flex_only=True)


def every_request(known: type[Request[Any]] = Request) -> set[type[Request[Any]]]:
    """All types of requests, however deep they are derived."""
    found = set(known.__subclasses__())
    return found.union(*(every_request(each) for each in found))


def test_every_request_has_a_row_in_the_table_and_says_what_its_model_must_do() -> None:
    requests = {each.__name__ for each in every_request() if each.__module__.startswith("blip_serve.")}
    assert requests == {each.__name__ for each in TASKS}  # by name: `slots=True` makes each class anew
    assert all(each.needs for each in TASKS)


@pytest.mark.parametrize("tier", get_args(ServiceTier))
def test_flex_is_background_work_and_every_other_tier_is_interactive(tier: ServiceTier) -> None:
    expected: WorkClass = "background" if tier == "flex" else "interactive"
    assert work_class(replace(REQUEST, service_tier=tier), ANYONE) == expected


@pytest.mark.parametrize("tier", ["auto", "flex"])
def test_a_caller_limited_to_flex_works_in_the_background(tier: ServiceTier) -> None:
    assert work_class(replace(REQUEST, service_tier=tier), FLEX_ONLY) == "background"


@pytest.mark.parametrize("tier", ["default", "scale", "priority"])
def test_a_caller_limited_to_flex_may_ask_for_no_other_tier(tier: ServiceTier) -> None:
    async def refused(tasks: Tasks) -> PermissionDenied:
        with pytest.raises(PermissionDenied) as found:
            await tasks.run(replace(REQUEST, service_tier=tier), FLEX_ONLY)
        return found.value

    error = with_service(FakeModel("match"), refused)
    assert (error.param, error.code) == ("service_tier", "service_tier_not_allowed")


def test_a_task_that_the_caller_may_not_use_is_refused_before_its_faults() -> None:
    async def refused(tasks: Tasks) -> PermissionDenied:
        with pytest.raises(PermissionDenied) as found:
            await tasks.run(replace(REQUEST, captions=()), replace(ANYONE, tasks=("embed",)))
        return found.value

    assert with_service(FakeModel("match"), refused).code == "task_not_allowed"


@pytest.mark.parametrize(
    ("param", "change"), [("protocol", {"protocol": "new"}), ("service_tier", {"service_tier": 1})]
)
def test_a_protocol_or_a_tier_that_there_is_not_is_refused(param: str, change: dict[str, Any]) -> None:
    async def refused(tasks: Tasks) -> InvalidInput:
        with pytest.raises(InvalidInput) as found:
            await tasks.run(replace(REQUEST, **change))
        return found.value

    assert with_service(FakeModel("match"), refused).param == param


def test_a_request_with_its_tier_can_cross_a_process_border() -> None:
    request = replace(REQUEST, service_tier="flex", model="a", protocol="paper")
    assert pickle.loads(pickle.dumps(request)) == request


def test_an_image_met_twice_counts_once_and_as_cached_where_it_was_both_times() -> None:
    known, new = Prepared((), image_tokens=9, cached_tokens=9), Prepared((), image_tokens=9)
    usage = usage_of([("a", known), ("a", new), ("b", known), ("b", known)], 5)
    assert (usage.image_tokens, usage.cached_tokens, usage.text_tokens, usage.total) == (18, 9, 5, 23)
