"""A command whose first argument is the name of a measurement: a module with `add_options` and `run`."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType


def main(program: str, description: str | None, measurements: Sequence[ModuleType]) -> None:
    """Runs one measurement. Ends with 1 where what it asks for is not met."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    names = parser.add_subparsers(required=True)
    for module in measurements:
        summary = str(module.__doc__).partition("\n")[0]
        command = names.add_parser(module.__name__.rpartition(".")[2], help=summary, description=summary)
        module.add_options(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args()
    sys.exit(0 if options.run(options) else 1)
