"""The phases of a model: each kind of step is a value, found by the name that works carry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import torch

from blip_serve.domain import Outcome, Work
from blip_serve.models.device import Device

WorkT = TypeVar("WorkT", contravariant=True)
StepT = TypeVar("StepT")


class Phase(Protocol[WorkT, StepT]):
    """One kind of step, with works and steps of its own kinds. Runs on the device thread, as `Model` says."""

    def launch(self, works: Sequence[WorkT]) -> StepT:
        """Starts a step for all of `works`."""
        ...

    def collect(self, step: StepT) -> list[Outcome]:
        """Waits for the step, keeps what it made, and gives each work its next phase or its result."""
        ...


AnyPhase: TypeAlias = Phase[Any, Any]


@dataclass(frozen=True, slots=True)
class Launched:
    """A step under way, and the phase that launched it."""

    phase: AnyPhase
    step: Any


class Phases:
    """A model's phases by name. A model must make works of the type that their phases expect."""

    def __init__(self, device: Device, phases: Mapping[str, AnyPhase]) -> None:
        self._device = device
        self._phases = phases

    @torch.inference_mode()
    def launch(self, works: Sequence[Work]) -> Launched:
        """Starts a step of the phase that the works are in. See `Model.launch`."""
        phase = self._phases[works[0].phase]
        with self._device.computing():
            return Launched(phase, phase.launch(works))

    @torch.inference_mode()
    def collect(self, launched: Launched) -> list[Outcome]:
        """Commits a step by the phase that launched it. See `Model.collect`."""
        with self._device.computing():
            return launched.phase.collect(launched.step)
