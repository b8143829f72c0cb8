"""`python -m bulk NAME`: measures bulk runs. Ends with 1 where what was asked for is not met."""

import argparse
import sys
from types import ModuleType

from bulk import beside, capfilt, kohya, ray_speed, size, throughput

MEASUREMENTS: tuple[ModuleType, ...] = (beside, capfilt, kohya, ray_speed, size, throughput)


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(prog="bulk", description=__doc__)
    names = parser.add_subparsers(required=True)
    for module in MEASUREMENTS:
        summary = str(module.__doc__).partition("\n")[0]
        command = names.add_parser(module.__name__.rpartition(".")[2], help=summary, description=summary)
        module.add_options(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args()
    sys.exit(0 if options.run(options) else 1)


if __name__ == "__main__":
    main()
