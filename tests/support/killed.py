"""`blip-serve`, killed at the first event of Python's audit hooks that matches: `python -m tests.support.killed`.

Arguments: the event, a part of what it tells (paths, and how one is opened), then those of `blip-serve`. The kill is
SIGKILL: nothing is tidied up.
"""

import os
import signal
import sys

from blip_serve.cli import main


def kill_at(event: str, part: str) -> None:
    """Ends this process at the first `event`, such as `open` or `os.rename`, that tells `part`."""

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        if name == event and part in " ".join(map(str, arguments)):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    kill_at(*sys.argv[1:3])
    sys.argv[1:3] = []
    main()
