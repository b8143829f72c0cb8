"""`blip-serve pull`: downloads the settings' checkpoints, so that a service can run offline later."""

import sys

from blip_serve.cli.options import Config
from blip_serve.errors import CheckpointError
from blip_serve.settings import Settings
from blip_serve.tasks.checkpoints import fetch, list_models


def pull(config: Config = None) -> None:
    """Download the settings' models into the hub's cache (HF_HOME), those not there yet, and print their folders.

    A model that cannot be downloaded is reported on standard error, and the others go on; the exit code is then 1.
    """
    settings = Settings.load(config)
    failed = False
    for status in list_models(settings.model_copy(update={"catalogue": False})):
        if status.parent is not None:
            continue
        try:
            print(f"{status.id}: {fetch(status)}", flush=True)
        except CheckpointError as error:
            failed = True
            print(f"blip-serve: {status.id}: {error}", file=sys.stderr, flush=True)
    sys.exit(failed)
