"""`blip-serve keys`, and the rule that others may call with keys only, as processes."""

import os
from pathlib import Path

import httpx
import pytest

from tests.cli.test_cli import is_ready, served
from tests.support.command import blip_serve
from tests.support.waiting import STARTED_S, wait_until


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture(scope="module")
def bobs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key of Bob's, for what changes nothing."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    create(file, "bob")
    return file


def create(file: Path, name: str, *options: str) -> str:
    done = blip_serve("keys", "create", name, "--file", str(file), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_keys_are_made_listed_and_revoked(keys_file: Path) -> None:
    alice = create(keys_file, "alice", "--model", "demo", "--model", "Salesforce/*", "--rate", "100/minute")
    bob = create(keys_file, "bob", "--concurrency", "4", "--flex-only", "--task", "match", "--task", "embed")
    assert alice.startswith("blip-")
    assert len({alice, bob}) == 2
    assert alice not in keys_file.read_text()
    listed = blip_serve("keys", "list", BLIP_SERVE_AUTH__KEYS_FILE=str(keys_file), COLUMNS="120").stdout
    rows = {row[0]: row[1:] for line in listed.splitlines() if (row := line.split())}
    assert rows["alice"][:6] == ["demo,", "Salesforce/*", "*", "100/minute", "-", "-"]
    assert rows["bob"][:6] == ["*", "match,", "embed", "-", "4", "flex"]
    assert blip_serve("keys", "revoke", "alice", "--file", str(keys_file)).returncode == 0
    assert "alice" not in blip_serve("keys", "list", "--file", str(keys_file)).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "bob"], "there is a key named bob"),
        (["create", "two words"], "name: String should match pattern"),
        (["create", "carol", "--rate", "often"], "rate: "),
        (["create", "carol", "--model", ""], "models.0: String should have at least 1 character"),
        (["create", "carol", "--task", "paint"], "tasks.0: Input should be 'match', 'embed', "),
        (["create", "carol", "--concurrency", "0"], "concurrency: Input should be greater than 0"),
        (["revoke", "carol"], "no key is named carol"),
    ],
)
def test_mistakes_are_told_and_change_nothing(bobs_file: Path, arguments: list[str], words: str) -> None:
    before = bobs_file.read_text()
    done = blip_serve("keys", *arguments, "--file", str(bobs_file))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert bobs_file.read_text() == before


def test_a_file_that_is_not_there_is_said_to_be_none(tmp_path: Path) -> None:
    done = blip_serve("keys", "revoke", "bob", "--file", str(tmp_path / "none.yaml"))
    assert (done.returncode, "No such file" in done.stderr, list(tmp_path.iterdir())) == (2, True, [])
    done = blip_serve("keys", "create", "bob", "--file", str(tmp_path / "none" / "keys.yaml"))
    assert (done.returncode, "no such folder" in done.stderr, list(tmp_path.iterdir())) == (2, True, [])


def test_row85_what_is_no_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "fifo", tmp_path / "folder", Path("/dev/zero")):
        for arguments in (["create", "bob"], ["list"], ["revoke", "bob"]):
            done = blip_serve("keys", *arguments, "--file", str(path))
            assert (done.returncode, done.stdout) == (2, "")
            assert f"{path}: not a regular file" in done.stderr
            assert "Traceback" not in done.stderr
    assert (tmp_path / "fifo").is_fifo()
    done = blip_serve("serve", "--port", "0", BLIP_SERVE_AUTH__KEYS_FILE=str(tmp_path / "fifo"))
    assert (done.returncode, "fifo: not a regular file" in done.stderr) == (2, True)


def test_without_a_file_the_setting_is_named() -> None:
    done = blip_serve("keys", "list")
    assert (done.returncode, "auth.keys_file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--host", "0.0.0.0"], {}, "--no-auth"),
        (["--host", "::"], {}, "--no-auth"),
        ([], {"BLIP_SERVE_SERVER__HOST": "0.0.0.0"}, "--no-auth"),
        (["--no-auth"], {"BLIP_SERVE_AUTH__KEYS_FILE": "keys.yaml"}, "contradicts"),
        ([], {"BLIP_SERVE_AUTH__KEYS_FILE": "/nowhere/keys.yaml"}, "/nowhere/keys.yaml: No such file"),
        ([], {"BLIP_SERVE_AUTH__KEYS": '[{"name": "a", "sha256": "b"}]'}, "auth.keys.0.sha256"),
        ([], {"BLIP_SERVE_AUTH__RATE": "often"}, "auth.rate"),
        ([], {"BLIP_SERVE_AUTH__RATE": "0/minute"}, "auth.rate: one rate of at least 1"),
        ([], {"BLIP_SERVE_AUTH__RATE": "100/minute;1/second"}, "auth.rate: one rate of at least 1"),
        ([], {"BLIP_SERVE_SERVER__TRUSTED_PROXIES": "10.0.0.1"}, "SERVER__TRUSTED_PROXIES: must be a JSON list"),
        ([], {"BLIP_SERVE_AUTH__REDIS_URL": "http://redis"}, "redis_url must begin with"),
    ],
)
def test_a_start_that_would_let_anyone_in_is_refused(
    arguments: list[str], environment: dict[str, str], words: str
) -> None:
    done = blip_serve("serve", "--port", "0", *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_all_addresses_are_listened_on_with_keys_or_when_told_so(keys_file: Path) -> None:
    key = create(keys_file, "alice")
    lazy = {"BLIP_SERVE_MODELS": '[{"id": "blip-serve/demo-retrieval"}]'}
    with served("--host", "0.0.0.0", BLIP_SERVE_AUTH__KEYS_FILE=str(keys_file), **lazy) as (_, url):
        wait_until(lambda: is_ready(url), STARTED_S, every=0.1)
        assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 401
        listed = blip_serve("models", "--url", url, BLIP_API_KEY=key)
        assert "demo-retrieval" in listed.stdout
        assert blip_serve("keys", "revoke", "alice", "--file", str(keys_file)).returncode == 0
        headers = {"authorization": f"Bearer {key}"}
        wait_until(
            lambda: httpx.get(f"{url}/v1/models", headers=headers, trust_env=False).status_code == 401, every=0.1
        )
    with served("--host", "0.0.0.0", "--no-auth", **lazy) as (_, url):
        wait_until(lambda: is_ready(url), STARTED_S, every=0.1)
        assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 200
