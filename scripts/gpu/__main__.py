"""`python -m gpu`: checks what is installed, runs `tests/cuda`, measures a little, and writes what was seen.

Without a card the tests skip what needs one, and the embedded checkpoints are measured on the CPU, as a trial of the
script: that is written to `build/gpu`, and never taken for a result.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from gpu.needs import MODULES, ROOT, download, missing

RESULTS = ROOT / "scripts" / "gpu" / "results"
TRIALS = ROOT / "build" / "gpu"
TESTS_S, ALL_S = 180, 420
"""Seconds after the start. Later no further test starts, and no further group of rows is measured."""


def main() -> int:
    """Returns 1 if a test or a measurement failed or no test ran, 2 if something is missing."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__)
    parser.add_argument("--wheels", action="store_true", help="say how all that may be missing is downloaded, and end")
    parser.add_argument("--python", default="{}.{}".format(*sys.version_info), help="the version for --wheels")
    parser.add_argument("--out", type=Path, help=f"folder of the results; by default {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    if arguments.wheels:
        print(download(MODULES.values(), arguments.python))
        return 0
    if lacking := missing():
        print(f"not installed here: {', '.join(lacking)}", file=sys.stderr)
        print(f"where there is a network:\n  {download(lacking, arguments.python)}", file=sys.stderr)
        print("then here, with the folder: WHEELS=wheels scripts/gpu/run.sh", file=sys.stderr)
        return 2
    _stand_for_an_installation()

    from gpu.measure import measure  # after the check that everything they import is installed
    from gpu.place import Place
    from gpu.report import Report
    from gpu.tested import run_tests

    report = Report.begin(arguments.out or RESULTS, TRIALS)
    report.tests = run_tests(report.on_card, TESTS_S - (time.monotonic() - started))
    report.write()
    for row in measure(Place(report.on_card), started + ALL_S, report.broken.append):
        report.add(row)
    report.seconds = round(time.monotonic() - started)
    report.write()
    return 0 if report.tests.passed and not report.tests.failed and not report.broken else 1


def _stand_for_an_installation() -> None:
    """Provides the package's version: it is on the path here, not installed, so it has no metadata."""
    folder = TRIALS / "site" / "blip_serve-0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: blip-serve\nVersion: 0\n")
    sys.path.append(str(folder.parent))
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(folder.parent)])


if __name__ == "__main__":
    sys.exit(main())
