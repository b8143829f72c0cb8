"""Where files are kept: the hub's cache and its free space beside what is missing, the hub, the folder of results."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from huggingface_hub import HfApi, constants

from blip_serve.catalogue import DTYPE_BYTES
from blip_serve.doctor.check import Check, judged, measured, not_checked
from blip_serve.doctor.place import Place
from blip_serve.models.hub import refused
from blip_serve.settings import Settings

PART = "storage"
TIMEOUT_S = 10.0
"""For the hub's answer."""

Free = Callable[[Path], int]
"""Bytes free where a folder is or would be."""


def storage(places: Sequence[Place], free: Free) -> Iterator[Check]:
    """The cache; for models that must be downloaded, the room they need and whether the hub answers."""
    cache = Path(constants.HF_HUB_CACHE)
    here = free(cache)
    yield measured(PART, "hub's cache", f"{cache}, {_size(here)} free")
    missing = [place for place in places if place.folder is None]
    if not missing:
        return
    names = ", ".join(place.model.id for place in missing)
    yield from _room(missing, names, cache, here)
    yield _hub(missing[0], names)


def _room(missing: Sequence[Place], names: str, cache: Path, here: int) -> Iterator[Check]:
    """Room for files in float32, as the hub's are."""
    unknown = [place.model.id for place in missing if place.card.parameters is None]
    needed = sum((place.card.parameters or 0) * DTYPE_BYTES["float32"] for place in missing)
    advice = f"free {_size(needed - here)} in {cache}, or set HF_HOME to a folder with room"
    if needed > here or not unknown:
        expected = f"{_size(needed)} for {names}"
        yield judged(PART, "room for downloads", needed <= here, f"{_size(here)} free", expected, advice)
    else:
        yield not_checked(
            PART, "room for downloads", f"the size of {', '.join(unknown)} is not known", "`blip-serve pull`"
        )


def _hub(place: Place, names: str) -> Check:
    """Whether the hub answers for the first model that is missing."""
    advice = "let this machine reach the hub (HF_ENDPOINT, HF_TOKEN, a proxy), or bring the cache along (HF_HOME)"
    expected = f"answers, since {names} must be downloaded"
    if constants.HF_HUB_OFFLINE:
        return judged(PART, "hub", False, "HF_HUB_OFFLINE is set", expected, "unset HF_HUB_OFFLINE, or bring the cache")
    try:
        HfApi().model_info(place.repository or place.model.id, revision=place.model.revision, timeout=TIMEOUT_S)
    except Exception as error:  # the hub's client also raises its transports' own exceptions
        return judged(PART, "hub", False, refused(error) or type(error).__name__, expected, advice)
    return judged(PART, "hub", True, "answers", expected, "")


def results(settings: Settings) -> Check:
    """Whether results can be kept in the settings' folder. Creates nothing."""
    folder = there = settings.data
    while not os.path.exists(there):  # false where it may not be looked at
        there = there.parent
    holds = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    advice = "set data_dir to a folder that can be written, such as a volume"
    return judged(
        PART, "folder of results", holds, f"{folder}{'' if holds else ': read-only'}", "can be written", advice
    )


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
