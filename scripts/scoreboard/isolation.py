"""Network namespaces: a process in one reaches only its own loopback, whatever URL the service is told to fetch.

Python's resolver asks `NAMESERVER` there; without a server behind it no name is found.
"""

import subprocess
import sys
import tempfile

NAMESERVER = "127.0.0.53"
SET_UP = """\
ip link set lo up
mount --bind "$1" /etc/resolv.conf
shift
exec "$@"
"""


def run_apart(module: str, *arguments: str) -> None:
    """Runs `python -m MODULE ARGUMENTS` in a namespace of its own.

    Raises `RuntimeError` if there can be no namespace, or if the module fails.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as names:
        names.write(f"nameserver {NAMESERVER}\noptions timeout:1 attempts:1\n")
        names.flush()
        unshare = ["unshare", "--map-root-user", "--net", "--mount", "--fork", "--kill-child"]
        command = [sys.executable, "-m", module, *arguments]
        code = subprocess.run([*unshare, "sh", "-ec", SET_UP, "sh", names.name, *command], check=False).returncode
    if code:
        raise RuntimeError(f"exit code {code} in a network namespace (`unshare`)")
