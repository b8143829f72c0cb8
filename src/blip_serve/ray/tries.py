"""Counts the actors that died over a todo: Ray gives it to another each time, and would do so for ever."""

import shutil
from pathlib import Path

from blip_serve.errors import Unavailable
from blip_serve.jobs.manifest import part_name
from blip_serve.jobs.plan import Todo

MOST = 3


class Tries:
    """The tries of one run, in a folder that all machines share. A try that ended is forgotten."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clear(self) -> None:
        """Makes the folder, without the tries of an earlier run."""
        self.delete()
        self.folder.mkdir(parents=True)

    def delete(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, todo: Todo) -> None:
        """Call it before a try. Raises `Unavailable` after so many that never ended."""
        with self._file(todo).open("ab") as file:
            if file.tell() >= MOST:
                last = todo.cut.start + todo.cut.count - 1
                raise Unavailable(
                    f"An actor died {MOST} times while it had the source's rows {todo.cut.start} to {last}, counted "
                    "from 0. Look into Ray's logs why: there may be too little memory for so many actors."
                )
            file.write(b".")

    def end(self, todo: Todo) -> None:
        """Call it after a try, however it ended."""
        self._file(todo).unlink(missing_ok=True)

    def _file(self, todo: Todo) -> Path:
        return self.folder / part_name(todo.cut.index, todo.attempt)
