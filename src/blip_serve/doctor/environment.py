"""The machine and what is installed: Python, packages, torch's build, device, number type, speed."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from blip_serve.doctor.check import Check, judged, measured, not_checked
from blip_serve.errors import ConfigurationError
from blip_serve.findings import machine as processor
from blip_serve.lazily import imported
from blip_serve.loading import check_device
from blip_serve.settings import Settings

PART = "machine"
PACKAGE = "blip-serve"
MACHINE = "blip_serve.models.machine:machine"
"""Imported when first needed, since it imports torch."""


def versions() -> Iterator[Check]:
    """Python, and the packages that this one requires. Imports none of them."""
    try:
        needed, python = requires(PACKAGE) or [], metadata(PACKAGE)["Requires-Python"]
    except PackageNotFoundError:
        yield not_checked(PART, "packages", f"{PACKAGE} is not installed", f"pip install {PACKAGE}")
        return
    here = platform.python_version()
    fits = SpecifierSet(python).contains(here, prereleases=True)
    yield judged(PART, "Python", fits, here, python, "install another Python")
    wanted = [each for each in map(Requirement, needed) if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = [each for each in wanted if not _fits(each)]
    for each in wrong:
        seen, expected = _version(each.name) or "not installed", each.specifier or "installed"
        yield judged(PART, each.name, False, seen, expected, f"pip install '{each.name}{each.specifier}'")
    if not wrong:
        shown = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers"))
        yield judged(PART, "packages", True, f"{len(wanted)} as required; {shown}", "", "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _fits(needed: Requirement) -> bool:
    """Whether a package is installed in a version that will do. One before its release may."""
    found = _version(needed.name)
    return found is not None and needed.specifier.contains(found, prereleases=True)


def device_is_there(settings: Settings) -> Iterator[Check]:
    """The device that the settings name. No row for `auto` and `cpu`, which are always there."""
    if settings.device == "cuda":
        yield from _device_missing(settings) or [judged(PART, "device", True, "cuda", "cuda", "")]


def _device_missing(settings: Settings) -> list[Check]:
    try:
        check_device(settings)
    except ConfigurationError as error:
        advice = "install the driver and a CUDA build of torch, give the container the card, or set device: auto"
        return [judged(PART, "device", False, str(error).removeprefix("device: "), settings.device, advice)]
    except (ImportError, OSError) as error:
        return [_no_torch(error)]
    return []


def _no_torch(error: Exception) -> Check:
    """Such as a library of CUDA's that is not there."""
    return judged(PART, "torch", False, str(error), "can be imported", "install torch anew for this machine")


def machine(settings: Settings) -> Iterator[Check]:
    """Torch's build, the device, the number type, and the speed of a model's products in it and in float32."""
    yield measured(PART, "processor", processor())
    if missing := _device_missing(settings):
        yield from missing
        return
    try:
        here = imported(MACHINE)(settings)
    except (ImportError, OSError) as error:
        yield _no_torch(error)
        return
    yield measured(PART, "torch", here.build)
    yield measured(PART, "device", f"{here.device}; {here.memory / 1e9:.0f} GB; {here.threads} threads")
    yield measured(PART, "number type", here.dtype, here.why)
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in here.rates.items())
    slow = here.rates[here.dtype] < here.rates["float32"]
    advice = f"dtype: float32 is faster than {here.dtype} here" if slow else ""
    yield measured(PART, "GFLOP a second", rates, "in a layer of ViT-B", advice)
