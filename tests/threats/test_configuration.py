"""Row 55: settings that cannot be used refuse the start, with exit code 2 and the key's name. As processes."""

import subprocess
from pathlib import Path

import pytest

from tests.support.command import blip_serve

FILES = {
    "unknown key": ("engine: {max_steps: 5}", "engine.max_steps: unknown key"),
    "bad type": ("engine: {max_step_cost: many}", "engine.max_step_cost: "),
    "bad host": ("images: {fetch: {allowed_hosts: ['http://a']}}", "images.fetch.allowed_hosts.0: "),
    "nested deep": ("[" * 5000, "not YAML"),
}
VARIABLES = {
    "unknown variable": ("BLIP_SERVE_SERVER__PROT", "9", "BLIP_SERVE_SERVER__PROT: unknown key"),
    "bad type of a variable": ("BLIP_SERVE_ENGINE__MAX_WAIT_MS", "soon", "engine.max_wait_ms: "),
    "empty default model": ("BLIP_SERVE_DEFAULT_MODEL", "", "default_model: String should have at least 1 character"),
    "empty model": ("BLIP_SERVE_MODELS", '[{"id": ""}]', "models.0.id: String should have at least 1 character"),
    "empty alias": ("BLIP_SERVE_MODELS", '[{"id": "a", "aliases": [""]}]', "models.0.aliases.0: String should have at"),
    "empty revision": (
        "BLIP_SERVE_MODELS",
        '[{"id": "a", "revision": ""}]',
        "models.0.revision: String should have at",
    ),
    "empty source": ("BLIP_SERVE_MODELS", '[{"id": "a", "source": ""}]', "models.0.source: String should have at"),
    "no JSON in a variable": ("BLIP_SERVE_MODELS", "no json", "BLIP_SERVE_MODELS: must be a JSON list"),
    "no JSON in a nested one": ("BLIP_SERVE_IMAGES__FETCH__DENIED_HOSTS", "a.org", "DENIED_HOSTS: must be a JSON list"),
    "several workers": ("WEB_CONCURRENCY", "4", "run more replicas"),
}


def check_refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("blip-serve: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"), [pytest.param(text, words, id=f"row55-{name}") for name, (text, words) in FILES.items()]
)
def test_files(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    done = blip_serve("serve", "--config", str(file))
    check_refused(done, words)
    assert f"{file}: " in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"), [pytest.param(*given, id=f"row55-{case}") for case, given in VARIABLES.items()]
)
def test_variables(name: str, value: str, words: str) -> None:
    check_refused(blip_serve("serve", **{name: value}), words)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("nothing.yaml", "nothing.yaml: No such file", id="row55-missing file"),
        pytest.param("/", "/: Is a directory", id="row55-folder"),
    ],
)
def test_files_that_cannot_be_read(path: str, words: str) -> None:
    check_refused(blip_serve("serve", "--config", path), words)
