"""The models' deployments, and their states as Ray Serve reports them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle, DeploymentResponse
from ray.serve.schema import DeploymentStatusOverview

from blip_serve.catalogue import ModelCard
from blip_serve.directory import Directory, Known, State
from blip_serve.errors import DeadlineExceeded, Overloaded, Unavailable
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry

LOOK_S = 1.0
"""Seconds between two questions to Serve for states, and to replicas for missing cards."""
CARD_S = 5.0
"""Seconds that a replica has to return its model's card."""
ANSWERING = ("RUNNING", "UPDATING", "RECOVERING", "PENDING_MIGRATION")
"""States in which a replica answers, also while a new controller finds it again or before it moves."""


@dataclass(eq=False, slots=True, kw_only=True)
class Deployed(Known):
    """A model and its deployment. `card_is_full`: its card came from a replica that has loaded it."""

    handle: DeploymentHandle
    card_is_full: bool = False

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turns Ray's errors and timeouts into errors of the service. An exception in a replica's code is passed on."""
        try:
            yield
        except TimeoutError:
            if self.state == "failed":
                raise self.load_failed() from None
            if self.state != "ready":
                raise self.loading() from None
            raise DeadlineExceeded("The request's time ran out.") from None
        except BackPressureError:
            raise Overloaded("The queue is full.", retry_after=1) from None
        except DeploymentUnavailableError:
            raise self.load_failed() from None
        except RayTaskError:
            raise
        except (RayError, ReplicaUnavailableError):
            raise Unavailable("The process that had the request is gone.", retry_after=1) from None


class Deployments:
    """Use this on the event loop only. `directory`: the models with their states at the last `look`."""

    def __init__(self, settings: Settings, telemetry: Telemetry, handles: Mapping[str, DeploymentHandle]) -> None:
        def make(model: ModelSettings, card: ModelCard) -> Deployed:
            return Deployed(model, card, handle=handles[model.id])

        self.directory = Directory(settings, make)
        self._telemetry = telemetry

    async def watch(self) -> None:
        """Updates states and cards for ever. The two loops are separate, so a slow card does not delay the states."""
        await asyncio.gather(_for_ever(self.look), _for_ever(self.ask_for_cards))

    async def look(self) -> None:
        """Updates the states. If Serve does not answer, they stay unchanged."""
        try:
            applications = (await asyncio.to_thread(serve.status)).applications
        except Exception as error:  # any error: otherwise the updates would end unnoticed
            self._telemetry.log.error("states_not_known", reason=type(error).__name__)
            return
        for deployed in self.directory.entries.values():
            handle = deployed.handle
            application = applications.get(handle.app_name)
            found = application and application.deployments.get(handle.deployment_name)
            self._enter(deployed, _state(found) if found else "loading")

    async def ask_for_cards(self) -> None:
        """Asks the models that are ready for their cards."""
        await asyncio.gather(*map(self._ask_for_card, self.directory.entries.values()))

    def _enter(self, deployed: Deployed, state: State) -> None:
        if state != deployed.state:
            self._telemetry.log.info("model_" + state, model=deployed.settings.id)
        deployed.state = state
        deployed.error = "it could not be loaded; the log of its deployment says why" if state == "failed" else None
        self._telemetry.model_changed(deployed.settings.id, state, get_args(State))

    async def _ask_for_card(self, deployed: Deployed) -> None:
        if deployed.state != "ready" or deployed.card_is_full:
            return
        try:
            async with asyncio.timeout(CARD_S):
                deployed.card = await result_of(deployed.handle.card.remote())
                deployed.card_is_full = True
        except (TimeoutError, RayError, RayServeException) as error:
            self._telemetry.log.warning("card_not_known", model=deployed.settings.id, reason=type(error).__name__)


async def result_of(response: DeploymentResponse) -> Any:
    """The result of a call to a deployment. Cancels the call if the caller is cancelled."""
    try:
        return await response
    except asyncio.CancelledError:  # the client left, or the time ran out
        response.cancel()
        raise


async def _for_ever(step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        await step()


def _state(found: DeploymentStatusOverview) -> State:
    if any(found.replica_states.get(state) for state in ANSWERING):
        return "ready"
    if found.replica_states.get("STARTING"):
        return "loading"
    if found.status_trigger == "REPLICA_STARTUP_FAILED":  # three times in a row
        return "failed"
    return "unloaded" if found.status == "HEALTHY" else "loading"
