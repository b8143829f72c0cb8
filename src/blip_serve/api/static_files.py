"""Files of pages that ship in the package: read once, each below a path that changes with their content."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, HTTPException, Response

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".json": "application/json", ".png": "image/png"}


@dataclass(frozen=True)
class StaticFiles:
    """Files that a page loads, by name. `below`: their path, which a page names without the slash it begins with."""

    below: str
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, path: str, files: Mapping[str, Path]) -> "StaticFiles":
        """The files below `path` and a digest of all of them, so that a browser may keep them for good."""
        found = {name: file.read_bytes() for name, file in files.items()}
        digest = sha256(b"".join(found.values())).hexdigest()[:16]
        return cls(f"{path}/{digest}", found)

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of each file."""
        return tuple(f"{self.below}/{name}" for name in self.files)

    def add_to(self, router: APIRouter) -> None:
        """Adds the route of the files."""

        @router.get(self.below + "/{name:path}")
        async def file(name: str) -> Response:
            """A file that a page loads."""
            if name not in self.files:
                raise HTTPException(404)
            # not `public`: a shared cache would keep what was sent for a key, too
            headers = {"cache-control": "max-age=31536000, immutable"}
            return Response(self.files[name], media_type=MEDIA_TYPES[PurePosixPath(name).suffix], headers=headers)
