"""The files of a source: their names for people, and what tells them from changed ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from blip_serve.jobs.sources.files import below, folder_of, real, state_of


@dataclass(frozen=True, slots=True)
class Files:
    """Files in the order given.

    `names`: below the nearest folder that all are in. `folders`: those they are in, without links.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...] = field(init=False)
    folders: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        shared = folder_of(self.paths)
        object.__setattr__(self, "names", tuple(below(shared, path) for path in self.paths))
        object.__setattr__(self, "folders", tuple(real(folder_of([path])) for path in self.paths))

    def identity(self) -> Mapping[str, str]:
        """Each file's size, and when it was changed."""
        return {name: state_of(path) for name, path in zip(self.names, self.paths, strict=True)}
