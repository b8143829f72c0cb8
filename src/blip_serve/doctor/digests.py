"""A checkpoint's bytes beside the digests that are known of it. Only they see a single altered weight."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from blip_serve.doctor.check import Check, judged, measured, not_checked
from blip_serve.doctor.place import Place, Witness
from blip_serve.errors import CheckpointError
from blip_serve.models.digests import DECIDING, tensor_digests, with_rows_exchanged
from blip_serve.models.hub import cached_commits

PART = "digests"
ANEW = "bring the file anew: remove it, then `blip-serve pull`"
TOLD = 3
"""Names of weights that a row lists."""


def digests(folder: Path, found: Mapping[str, str], witness: Witness | None) -> Iterator[Check]:
    """A row for each file of `found`, the files' digests by name, or of the witness."""
    if witness is None:
        yield not_checked(
            PART,
            "second witness: digests",
            "none known; transformers reads the same files, so a fault in them agrees with itself",
            "`blip-serve pull` records the hub's digests",
        )
        return
    yield measured(PART, "second witness", witness.name)
    for name in sorted(found.keys() | {known for known in witness.files if _decides(known)}):
        seen, expected = found.get(name, "missing"), witness.files.get(name, "no file")
        same = seen == expected
        told = seen[:12] if same or name not in witness.files else f"{seen[:12]}{_altered(folder, name, witness)}"
        yield judged(PART, name, same, told, expected[:12], ANEW)


def _decides(name: str) -> bool:
    return name in DECIDING or name.endswith((".safetensors", ".bin"))


def _altered(folder: Path, name: str, witness: Witness) -> str:
    """Which weights differ, if it is a file of weights and those are known."""
    if not name.endswith(".safetensors") or not witness.tensors:
        return ""
    try:
        found = tensor_digests(folder)
    except CheckpointError as error:
        return f": {error.brief}"
    other = sorted(
        weight for weight in found.keys() | witness.tensors if found.get(weight) != witness.tensors.get(weight)
    )
    if not other:
        return ": the weights are the same, the header differs"
    more = f" and {len(other) - TOLD} more" if len(other) > TOLD else ""
    return ": " + ", ".join(_told(folder, weight, found, witness) for weight in other[:TOLD]) + more


def _told(folder: Path, weight: str, found: Mapping[str, str], witness: Witness) -> str:
    if weight not in witness.tensors:
        return f"{weight} is new"
    if weight not in found:
        return f"{weight} is missing"
    if weight.startswith("itm_head.") and with_rows_exchanged(folder, weight) == witness.tensors[weight]:
        return f"{weight} has its columns exchanged (no match, match)"
    return f"{weight} differs"


def revision(place: Place, found: Mapping[str, str], witness: Witness | None) -> Iterator[Check]:
    """Whether the files are those of the commit that the settings name. No row for a model that has no revision."""
    asked = place.model.revision
    name = "revision"
    if place.folder is None:
        held = cached_commits(place.repository) if asked and place.repository else []
        if held:
            others = f"not here yet; the cache holds {', '.join(each[:12] for each in held)}"
            yield not_checked(PART, name, others, _anew(place))
        return
    if asked is None:
        return
    record = witness.pulled if witness else None
    if (record and record.revision == asked) or (record and record.commit == asked):
        expected: str = record.commit
    else:
        expected = asked
    matches = record is not None and all(record.files.get(each) == digest for each, digest in found.items())
    commit = place.commit or (record.commit if record and matches else None)
    if commit is not None and _is_commit(expected):
        yield judged(PART, name, commit == expected, commit[:12], expected[:12], _anew(place))
    elif commit is None and record is not None:
        yield judged(PART, name, False, "files of no commit that `pull` recorded", expected[:12], _anew(place))
    else:
        yield not_checked(
            PART,
            name,
            f"no record of what {asked} is" if commit else "a folder has no commit",
            "bring the checkpoint by `blip-serve pull`, which records its commit",
        )


def _is_commit(name: str) -> bool:
    return len(name) == 40 and set(name) <= set("0123456789abcdef")


def _anew(place: Place) -> str:
    return f"name the commit that is meant as the model's `revision`, then `blip-serve pull` ({place.model.id})"
