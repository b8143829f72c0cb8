"""Errors and callers on their way to another process and back."""

import pickle
from itertools import chain

import pytest

from blip_serve import errors
from blip_serve.domain import Caller


def all_of(kind: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    return [kind, *chain.from_iterable(map(all_of, kind.__subclasses__()))]


@pytest.mark.parametrize("kind", all_of(errors.ServiceError), ids=lambda kind: str(kind.__name__))
def test_an_error_keeps_what_it_says(kind: type[errors.ServiceError]) -> None:
    for error in (kind("Why."), kind("Why.", code="a_code", param="images[1]", retry_after=7)):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind
        assert str(copy) == str(error) == "Why."
        assert vars(copy) == vars(error)
        assert vars(error).keys() == {"message", "code", "param", "retry_after"}


def test_a_caller_keeps_its_name_and_its_models() -> None:
    caller = Caller("tester", ("Salesforce/*",))
    assert pickle.loads(pickle.dumps(caller)) == caller
