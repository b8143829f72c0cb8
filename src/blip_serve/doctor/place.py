"""Where a model's files are, without downloading any, and what is known of them beside themselves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blip_serve.catalogue import ModelCard, known_cards, resolve
from blip_serve.errors import CheckpointError
from blip_serve.models.files import is_folder
from blip_serve.models.hub import cached_folder
from blip_serve.models.pulled import Pulled, pulled_of
from blip_serve.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Place:
    """A model of the settings. `folder`: its files; `None` if they must be downloaded first.

    `card`: what the catalogue knows of it by its source or, for a copy in a folder, by its id. `repository`: its name
    on the hub, if it has one. `commit`: of a folder in the hub's cache.
    """

    model: ModelSettings
    card: ModelCard
    folder: Path | None
    repository: str | None
    commit: str | None


@dataclass(frozen=True, slots=True)
class Witness:
    """The digests that a checkpoint should have. `name`: who says so. `pulled`: the record, if `pull` wrote it."""

    name: str
    files: Mapping[str, str]
    tensors: Mapping[str, str]
    pulled: Pulled | None = None

    def is_of(self, place: Place) -> bool:
        """Whether the digests are of the model's files, and not of another commit's."""
        return self.pulled is None or place.commit in (None, self.pulled.commit)


def place_of(model: ModelSettings) -> Place:
    """Where the files of a configured model are. Raises `CheckpointError` if its source is a folder that is not there.

    A folder `snapshots/COMMIT` of the hub's cache, given as the source, is known as what it is.
    """
    cards = known_cards()
    source = model.source or model.id
    folder = Path(source).expanduser() if is_folder(source) else None
    repository, commit = cached_as(folder) if folder else (None, None)
    known = resolve(repository or source, cards) or resolve(model.id, cards)
    card = cards[known] if known else ModelCard(model.id)
    if model.source is None and card.folder is not None:
        return Place(model, card, card.folder, None, None)
    if folder is not None:
        return Place(model, card, folder, repository or (known if known and card.folder is None else None), commit)
    if source.startswith(("/", ".", "~")) or source.count("/") != 1:
        raise CheckpointError(Path(source), "no such folder")
    cached = cached_folder(source, model.revision)
    return Place(model, card, cached, source, cached_as(cached)[1] if cached else None)


def witness_of(place: Place, data: Path) -> Witness | None:
    """The digests of the package for a copy of an embedded checkpoint, else those that `pull` recorded.

    Of several records it is that of the folder's commit, else that of the settings' revision, else the latest.
    Raises `CheckpointError` if a record cannot be read.
    """
    if place.card.folder is not None:
        content = json.loads((place.card.folder / "digests.json").read_text(encoding="utf-8"))
        return Witness("the package", content["files"], content["tensors"])
    records = pulled_of(data, place.repository) if place.repository else []
    wanted = [record for record in records if place.commit and record.commit == place.commit]
    wanted = wanted or [record for record in records if place.model.revision in (record.commit, record.revision)]
    if found := (wanted or records)[-1:]:
        return Witness(f"pull of {found[0].commit[:12]}", found[0].files, found[0].tensors, found[0])
    return None


def cached_as(folder: Path) -> tuple[str | None, str | None]:
    """The repository and the commit of a folder in the hub's cache: `models--OWNER--NAME/snapshots/COMMIT`."""
    parent, snapshots, commit = folder.absolute().parts[-3:] if len(folder.absolute().parts) > 3 else ("", "", "")
    if snapshots != "snapshots" or not parent.startswith("models--"):
        return None, None
    return parent.removeprefix("models--").replace("--", "/", 1), commit
