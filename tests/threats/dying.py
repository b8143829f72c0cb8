"""`blip-serve` with a fake model whose step of three captions ends the device thread: a process for the tests."""

from collections.abc import Sequence

from blip_serve import cli
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.tasks import service
from tests.support.server import always

FATAL_CAPTIONS = 3


def _die(works: Sequence[FakeWork]) -> None:
    if any((work.phase, work.cost) == ("score", FATAL_CAPTIONS) for work in works):
        raise SystemExit


if __name__ == "__main__":
    model = FakeModel(on_launch=_die, step_seconds=0.2)
    vars(service)["CheckpointLoader"] = lambda settings, telemetry: always(model)
    cli.main()
