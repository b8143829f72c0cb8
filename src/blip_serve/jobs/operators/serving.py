"""Which model serves the requests of an operator, and how."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from blip_serve.domain import ScoringProtocol
from blip_serve.tasks.request import Request

RequestT = TypeVar("RequestT", bound=Request[Any])


@dataclass(frozen=True, slots=True)
class Serving:
    """The fields that all requests of a kind share. `None`: the configured default."""

    model: str | None = None
    protocol: ScoringProtocol | None = None

    def of(self, request: RequestT) -> RequestT:
        """The request with these fields."""
        return replace(request, model=self.model, protocol=self.protocol)


DEFAULT = Serving()
PAPER = Serving(protocol="paper")
