"""Puts the checks together: the quick ones before a service starts, and all of them. Imports torch only if it must."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from blip_serve.architectures import Architecture
from blip_serve.catalogue import known_cards, resolve
from blip_serve.doctor.check import Check, Report, judged, not_checked
from blip_serve.doctor.configuration import configuration
from blip_serve.doctor.digests import PART as DIGESTS
from blip_serve.doctor.digests import digests, revision
from blip_serve.doctor.environment import device_is_there, machine, versions
from blip_serve.doctor.facts import PART as CARD
from blip_serve.doctor.facts import facts
from blip_serve.doctor.place import Place, Witness, cached_as, place_of, witness_of
from blip_serve.doctor.published import GOLDEN
from blip_serve.doctor.storage import Free, results, storage
from blip_serve.doctor.weights import PART as WEIGHTS
from blip_serve.doctor.weights import weights
from blip_serve.domain import AnyModel
from blip_serve.errors import CheckpointError, ConfigurationError
from blip_serve.findings import Figure, Finding, Findings
from blip_serve.findings import machine as processor
from blip_serve.lazily import imported
from blip_serve.loading import CheckpointLoader, number_type
from blip_serve.models.digests import DECIDING, checkpoint_digest, digest_of, file_digests
from blip_serve.models.files import architecture_of
from blip_serve.models.hub import find_folder
from blip_serve.models.room import free_bytes
from blip_serve.settings import LogSettings, ModelSettings, Settings
from blip_serve.telemetry import Telemetry

FILES = "files"
PARITY = "blip_serve.doctor.parity"
"""Imported when first needed, since it imports torch."""
DOWNLOADS, LOADS = {"hub", "room for downloads"}, {"device", "torch"}
"""Rows that must not fail before a download, or a load."""
ANEW = "bring the checkpoint anew: `blip-serve pull`, or correct its folder (the model's `source`)"


def quick(settings: Settings, free: Free = free_bytes) -> Report:
    """What can be said in a second or two, before a port is opened: everything but torch's part and the weights."""
    checks = [*versions(), *device_is_there(settings)]
    places, faults = _places(settings.models)
    checks += [*storage(places, free), *faults]
    for place in places:
        checks += _named(place, files(place, settings, whole=False))
    return Report(tuple(checks), ("`blip-serve doctor --model ID`: digests, weights, transformers",))


def machine_report(settings: Settings, free: Free = free_bytes) -> Report:
    """The machine, the configuration and the storage. Measures, but loads no model."""
    _, checks = _place_checks(settings, settings.models, free)
    return Report(tuple(checks), ("`--model ID`: a checkpoint's files, digests, weights and answers",))


def examine(settings: Settings, name: str, golden: Path | None = None, free: Free = free_bytes) -> Report:
    """All that `machine_report` says, and a model by any of its names. Keeps a finding about it.

    `golden`: BLIP's demo.jpg. Raises `ConfigurationError` if no model has the name.
    """
    places, checks = _place_checks(settings, [_find(settings, name)], free)
    figures: dict[str, float] = {}
    failed = {check.name for check in checks if check.status == "failed"}
    for place in places:
        if place.folder is None and not failed & DOWNLOADS:
            place, faults = _brought(place, settings)
            checks += faults
        began = time.monotonic()
        examined = list(_model(place, settings, golden, failed, figures))
        checks += examined
        figures["seconds"] = round(time.monotonic() - began, 1)
        checks += _keep(place, settings, Report(tuple(checks)), figures)
    further = []
    if golden is None and any(place.card.id in GOLDEN for place in places):
        further.append("`--golden FILE`, BLIP's demo.jpg: the published values")
    if not any(check.name.startswith("drift") for check in checks):
        further.append("`dtype: bfloat16` or `float16` in the settings: how far 16 bits are from float32")
    return Report(tuple(checks), tuple(further))


def _place_checks(settings: Settings, models: Sequence[ModelSettings], free: Free) -> tuple[list[Place], list[Check]]:
    """Where the models are, and the rows of the machine, the configuration and the storage."""
    places, faults = _places(models)
    rows = (versions(), machine(settings), configuration(settings), storage(places, free), [results(settings)], faults)
    return places, [check for part in rows for check in part]


def _find(settings: Settings, name: str) -> ModelSettings:
    for model in settings.models:
        if name in (model.id, *model.aliases):
            return model
    known = {model.id: model for model in settings.models}
    if settings.catalogue:
        known = {id: ModelSettings(id=id) for id in known_cards()} | known
    found = resolve(name, known)
    if found is None:
        raise ConfigurationError(f"--model: no model is called {name!r}; `blip-serve models` lists them")
    return known[found]


def _places(models: Sequence[ModelSettings]) -> tuple[list[Place], list[Check]]:
    """Where the models are, and a failed row for each whose source is no folder."""
    places, faults = [], []
    for model in models:
        try:
            places.append(place_of(model))
        except CheckpointError as error:
            faults.append(judged(FILES, model.id, False, str(error), "a folder", "correct the model's `source`"))
    return places, faults


def _named(place: Place, checks: Iterator[Check]) -> list[Check]:
    """The rows of one of several models: their parts also name it."""
    return [
        Check(f"{check.part}, {place.model.id}", check.name, check.status, check.seen, check.expected, check.advice)
        for check in checks
    ]


def files(place: Place, settings: Settings, whole: bool) -> Iterator[Check]:
    """What the files say by themselves. `whole`: whether to read the weights for their digest."""
    witness, faults = _witness(place, settings)
    yield from faults
    if place.folder is None:
        yield from revision(place, {}, witness)
        return
    try:
        yield from facts(place.folder, place.card)
    except (CheckpointError, ValueError, TypeError, KeyError, AttributeError) as error:
        yield judged(CARD, "files", False, str(error), "can be read", ANEW)
    try:
        digested = file_digests(place.folder) if whole else _small_digests(place.folder)
    except CheckpointError as error:
        yield judged(DIGESTS, "files", False, str(error), "can be read", ANEW)
        return
    known = witness if witness and witness.is_of(place) else None
    if whole or known:
        yield from digests(place.folder, digested, known if whole or known is None else _without_weights(known))
    yield from revision(place, digested, witness)


def _small_digests(folder: Path) -> dict[str, str]:
    return {name: digest_of(folder / name) for name in DECIDING if (folder / name).exists()}


def _without_weights(witness: Witness) -> Witness:
    small = {name: digest for name, digest in witness.files.items() if name in DECIDING}
    return Witness(witness.name, small, {}, witness.pulled)


def _witness(place: Place, settings: Settings) -> tuple[Witness | None, list[Check]]:
    try:
        return witness_of(place, settings.data), []
    except CheckpointError as error:
        return None, [judged(DIGESTS, "record of `pull`", False, str(error), "can be read", "`blip-serve pull`")]


def _brought(place: Place, settings: Settings) -> tuple[Place, list[Check]]:
    """A model with its files, downloaded as the service would. A failed row if they cannot be had."""
    source, log = place.model.source or place.model.id, Telemetry(LogSettings(level="error")).log
    try:
        folder = find_folder(source, place.model.revision, settings.data, log.warning)
    except CheckpointError as error:
        return place, [judged(FILES, "download", False, str(error), "the checkpoint's files", ANEW)]
    return replace(place, folder=folder, commit=cached_as(folder)[1]), []


def _model(
    place: Place, settings: Settings, golden: Path | None, failed: Set[str], figures: dict[str, float]
) -> Iterator[Check]:
    """A model's rows. `failed`: names of rows, of which some stand in the way of a load."""
    yield from files(place, settings, whole=True)
    architecture = _architecture(place.folder) if place.folder else None
    if place.folder is None or architecture is None or failed & LOADS:
        reason = ", ".join(failed & LOADS) or "the files"
        yield _unmade(WEIGHTS, reason)
        yield _unmade("transformers", reason)
        return
    yield from _loaded(place, place.folder, architecture, settings, golden, figures)


def _loaded(
    place: Place,
    folder: Path,
    architecture: Architecture,
    settings: Settings,
    golden: Path | None,
    figures: dict[str, float],
) -> Iterator[Check]:
    """The rows of the weights, and of the loaded model."""
    dtype = number_type(settings)
    try:
        yield from weights(folder, architecture, dtype)
    except CheckpointError as error:
        yield judged(WEIGHTS, "files", False, str(error), "can be read", ANEW)
    load = _load(place, folder, settings)
    kept = imported(f"{PARITY}:Figures")(figures)
    try:
        yield from imported(f"{PARITY}:parity")(folder, place.card.id, architecture, load, dtype, golden, kept)
    except Exception as error:  # transformers raises many kinds for wrong files, and a report is wanted of all
        reason = " ".join(str(error).split())
        yield judged("transformers", "comparison", False, f"{type(error).__name__}: {reason[:300]}", "runs", ANEW)


def _load(place: Place, folder: Path, settings: Settings) -> Callable[[str], AnyModel]:
    """Loads as the service does, in a number type."""
    log = Telemetry(LogSettings(level="error"))

    def load(dtype: str) -> AnyModel:
        gc.collect()  # a model holds itself in circles: else two were in memory
        chosen = settings.model_copy(update={"dtype": dtype})
        model = place.model.model_copy(update={"source": str(folder)})
        return CheckpointLoader(chosen, log).find(model, place.card).load()[0]

    return load


def _architecture(folder: Path) -> Architecture | None:
    try:
        return architecture_of(folder)
    except CheckpointError:
        return None


def _unmade(part: str, reason: str) -> Check:
    return not_checked(part, "all", f"not made, because of: {reason}", "do first what the failed rows say")


def _keep(place: Place, settings: Settings, report: Report, figures: dict[str, float]) -> list[Check]:
    """Keeps the finding, if the files have a digest. A failed row if it cannot be written."""
    if place.folder is None or any(check.name in LOADS for check in report.of("failed")):
        return []
    counted: dict[str, Figure] = {f"checks {status}": count for status, count in report.counts.items()}
    try:
        finding = Finding(
            kind="doctor",
            name="doctor",
            model=place.model.id,
            digest=checkpoint_digest(file_digests(place.folder)),
            dtype=number_type(settings),
            machine=processor(),
            figures={**counted, **figures},
        )
        Findings(settings.data).keep(finding)
    except CheckpointError:
        return []  # the rows of the files say so
    except OSError as error:
        return [judged("storage", "finding", False, error.strerror or str(error), "kept", "set data_dir")]
    return []
