"""`python -m scoreboard.launch`: `blip-serve serve` with a fake model, on which a step takes a fixed time."""

import argparse
from functools import partial
from pathlib import Path
from unittest.mock import patch

from blip_serve.api.app import create_app
from blip_serve.catalogue import ModelCard
from blip_serve.cli import serve as command
from blip_serve.domain import AnyModel
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from blip_serve.tasks.service import open_service
from tests.support.making import Making


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="scoreboard.launch", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fake-step-s", type=float, required=True)
    arguments = parser.parse_args()

    def load(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        return FakeModel("match", "embed", "caption", "answer", step_seconds=arguments.fake_step_s), card

    with patch.object(
        command, "create_app", partial(create_app, open_tasks=partial(open_service, loader=Making(load)))
    ):
        command.serve(config=arguments.config, port=arguments.port)


if __name__ == "__main__":
    main()
