"""The models' deployments by name, and the states that Serve says they are in."""

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
"""How often Serve is asked for states, and replicas for cards that are not known yet."""
CARD_S = 5.0
"""How long a replica has to tell what it knows of its model."""
ANSWERING = ("RUNNING", "UPDATING", "RECOVERING", "PENDING_MIGRATION")
"""States of replicas that answer: those found again by a new controller, or about to move, do."""


@dataclass(eq=False, slots=True, kw_only=True)
class Deployed(Known):
    """A model and its deployment."""

    handle: DeploymentHandle
    card_is_full: bool = False

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turns what comes of asking a deployment into errors of the service; a fault of its code stays what it is."""
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
    """Lives on the event loop; `directory` is as Serve had it at the last look."""

    def __init__(self, settings: Settings, telemetry: Telemetry, handles: Mapping[str, DeploymentHandle]) -> None:
        def make(model: ModelSettings, card: ModelCard) -> Deployed:
            return Deployed(model, card, handle=handles[model.id])

        self.directory = Directory(settings, make)
        self._telemetry = telemetry

    async def watch(self) -> None:
        """Looks and asks again and again; a replica that is slow to tell its card holds up no state."""
        await asyncio.gather(_again_and_again(self.look), _again_and_again(self.ask_for_cards))

    async def look(self) -> None:
        """Brings the states up to date; while Serve does not answer, they stay as they were."""
        try:
            applications = (await asyncio.to_thread(serve.status)).applications
        except Exception as error:  # whatever it is: nobody else would notice that nobody looks any more
            self._telemetry.log.error("states_not_known", reason=type(error).__name__)
            return
        for deployed in self.directory.entries.values():
            handle = deployed.handle
            application = applications.get(handle.app_name)
            found = application and application.deployments.get(handle.deployment_name)
            self._enter(deployed, _state(found) if found else "loading")

    async def ask_for_cards(self) -> None:
        """Brings the cards of models that came up up to date."""
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
    """What a call gives; one that nobody waits for any more is cancelled."""
    try:
        return await response
    except asyncio.CancelledError:  # the client left, or the time ran out
        response.cancel()
        raise


async def _again_and_again(step: Callable[[], Awaitable[None]]) -> None:
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
