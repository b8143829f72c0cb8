"""The npm client and the first openai 1.x, where `TEST_CLIENTS` names their folder (`make test-clients` does)."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blip_serve.models.fake import FakeModel
from tests.support.asking import IMAGE, chat_messages
from tests.support.server import Service, always, fake_settings, sdk, serving

CLIENTS = Path(os.environ.get("TEST_CLIENTS", "/nowhere"))
NODE = shutil.which("node")
PACKAGES = CLIENTS / "node_modules"
OLD_PYTHON = CLIENTS / "openai-1.0.0" / "bin" / "python"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel("caption"))) as running:
        yield running


@pytest.fixture(scope="module")
def texts(service: Service) -> list[str | None]:
    """What the client of the other tests is answered."""
    with sdk(service) as client:
        answer = client.chat.completions.create(model="fake", messages=chat_messages("a photo of"), n=2)
    return [choice.message.content for choice in answer.choices]


def seen_by(service: Service, command: list[str], **environment: str) -> dict[str, Any]:
    """What a client's script printed."""
    ran = subprocess.run(
        [*command, f"{service.url}/v1", IMAGE],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


@pytest.mark.skipif(not (NODE and (PACKAGES / "openai").is_dir()), reason="make test-clients installs openai for Node")
def test_the_npm_client_asks_and_streams(service: Service, texts: list[str | None]) -> None:
    seen = seen_by(service, [NODE or "", str(HERE / "node.cjs")], NODE_PATH=str(PACKAGES))
    assert seen["chat"] == texts
    assert {seen["pieces"], seen["reader"], seen["response"], seen["final"]} == {texts[0]}
    assert seen["tokens"] == 20
    assert (seen["events"][0], seen["events"][-1]) == ("response.created", "response.completed")
    assert seen["error"] == [True, 400, "invalid_value", "n"]
    assert seen["models"] == ["test/fake"]


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="make test-clients installs openai 1.0.0")
def test_the_first_1_x_client_asks_and_streams(service: Service, texts: list[str | None]) -> None:
    seen = seen_by(service, [str(OLD_PYTHON), str(HERE / "python_v1.py")])
    assert seen["version"] == "1.0.0"
    assert (seen["chat"], seen["pieces"]) == (texts, texts[0])
    assert seen["error"] == [True, 400, "invalid_value", "n"]
    assert seen["models"] == ["test/fake"]
