"""The command line, as processes."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from blip_serve.catalogue import EMBEDDED
from tests.images.samples import file_bytes
from tests.support.command import blip_serve
from tests.support.waiting import STARTED_S, WAIT_S, wait_until

PICTURES = EMBEDDED / "pictures"
RED = str(PICTURES / "red-circle.png")


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process, and where it is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "blip_serve", "serve", "--port", str(port), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate(timeout=WAIT_S)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_match_prints_a_table() -> None:
    done = blip_serve("match", RED, "--caption", "a large red circle", "--caption", "a large blue circle")
    assert done.returncode == 0, done.stderr
    assert "blip-serve/demo-retrieval (hf)" in done.stdout
    assert "a large blue circle" in done.stdout
    assert "ITM probability" in done.stdout


def test_match_prints_json_for_many_images() -> None:
    other = str(PICTURES / "pink-star.png")
    done = blip_serve("match", RED, other, "--caption", "a large red circle", "--json", "--protocol", "paper")
    rows = json.loads(done.stdout)
    assert [(row["image"], row["caption"]) for row in rows] == [
        (RED, "a large red circle"),
        (other, "a large red circle"),
    ]
    assert rows[0]["itm_score"] > rows[1]["itm_score"]
    assert len(rows[0]["itm_logits"]) == 2


def test_models_lists_tasks_and_memory_by_dtype() -> None:
    done = blip_serve("models")
    assert done.returncode == 0, done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if "blip-itm-large-coco" in line]
    assert row == [
        "Salesforce/blip-itm-large-coco",
        "match,",
        "embed,",
        "explain",
        "on",
        "the",
        "hub",
        "1785",
        "892",
        "892",
    ]
    [row] = [line.split() for line in done.stdout.splitlines() if "demo-retrieval" in line]
    assert row[:5] == ["blip-serve/demo-retrieval", "match,", "embed,", "explain", "embedded"]
    pages = json.loads(blip_serve("models", "--json").stdout)
    assert len(pages) == 11 + 3  # captioning models have a plain form
    states = {page["id"]: page["state"] for page in pages}
    assert states["blip-serve/demo-captioning:plain"] == states["blip-serve/demo-captioning"] == "embedded"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["match", "nothing.png", "--caption", "a"], 2, "nothing.png: No such file"),
        (["match", RED], 2, "--caption"),
        (["match", RED, "--caption", " "], 1, "The text is blank"),
        (
            ["match", RED, "--caption", "a", "--model", "nobody"],
            1,
            "'nobody' does not exist. `blip-serve models` lists",
        ),
        *(
            ([*command, "--model", ""], 2, "--model")
            for command in (["match", RED, "--caption", "a"], ["caption", RED])
        ),
        (["match", RED, "--caption", "a", "--protocol", "mine"], 2, "--protocol"),
        (["match", RED, "--caption", "a", "--model", "blip-itm-base-coco"], 1, "the hub cannot be reached"),
        (["match", __file__, "--caption", "a"], 1, "format is not supported"),
        (["models", "--url", "http://127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["models", "--fit", "--url", "http://127.0.0.1:1"], 2, "--fit measures this machine"),
        (["serve", "--config", "nothing.yaml"], 2, "nothing.yaml: No such file"),
        (["serve", "--host", "256.0.0.1", "--no-auth"], 1, "cannot listen"),
        (["fly"], 2, "No such command"),
    ],
)
def test_mistakes_are_told_in_a_line_without_a_traceback(arguments: list[str], code: int, words: str) -> None:
    done = blip_serve(*arguments)
    assert done.returncode == code
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_serve_checks_prints_the_curl_line_answers_it_and_stops_on_sigterm() -> None:
    with served("--check", BLIP_SERVE_SERVER__SHUTDOWN_DELAY_S="0") as (process, url):
        wait_until(lambda: is_ready(url), STARTED_S, every=0.1)
        response = httpx.post(
            f"{url}/v1/match",
            files={"image": Path(RED).read_bytes()},
            data={"caption": ["a large red circle", "a large blue circle"]},
            trust_env=False,
        )
        assert response.status_code == 200
        listed = blip_serve("models", "--url", url)
        assert "ready" in listed.stdout
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0
        assert f"curl {url}/v1/match -F image=@{RED}" in errors
        assert "model_ready" in errors


def test_match_sorts_by_score_and_marks_the_best() -> None:
    done = blip_serve("match", RED, "--caption", "a large [blue] circle", "--caption", "a large red circle")
    first, second = (line for line in done.stdout.splitlines() if line.startswith("│"))
    assert first.startswith("│ best │")
    assert "a large red circle" in first
    assert "best" not in second
    assert "a large [blue] circle" in second  # brackets are no markup


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["match", RED, "--caption", "a"], ["caption", RED]])
def test_a_device_that_is_not_there_ends_the_start_with_the_reason(command: list[str]) -> None:
    done = blip_serve(*command, BLIP_SERVE_DEVICE="cuda", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stderr == "blip-serve: device: cuda asked for, but PyTorch sees no CUDA device\n"
    assert done.stdout == ""


@pytest.fixture
def without_heic(tmp_path: Path) -> str:
    """A search path of modules on which the package that reads HEIC cannot be imported."""
    (tmp_path / "pillow_heif.py").write_text("raise ImportError")
    return os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])


def test_heic_without_its_package_ends_the_start_with_the_reason(without_heic: str) -> None:
    done = blip_serve("serve", "--port", "0", BLIP_SERVE_IMAGES__FORMATS='["HEIC"]', PYTHONPATH=without_heic)
    assert done.returncode == 2
    assert done.stderr == (
        "blip-serve: images.formats: HEIC needs the package pillow-heif: pip install 'blip-serve[heic]'\n"
    )


def test_ones_own_heic_without_its_package_is_of_no_format_that_is_read(without_heic: str, tmp_path: Path) -> None:
    (tmp_path / "IMG_0001.HEIC").write_bytes(file_bytes(Image.open(RED).convert("RGB"), "HEIC"))
    done = blip_serve("caption", str(tmp_path / "IMG_0001.HEIC"), PYTHONPATH=without_heic)
    assert done.returncode == 1
    assert "give one of AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP." in done.stderr


def test_a_load_that_fails_tells_its_reason(tmp_path: Path) -> None:
    models = json.dumps([{"id": "test/mine", "source": str(tmp_path)}])
    done = blip_serve("match", RED, "--caption", "a", BLIP_SERVE_MODELS=models)
    assert done.returncode == 1
    assert "blip-serve: The model 'test/mine' could not be loaded: config.json: No such file" in done.stderr


def test_serve_says_that_it_serves_once_its_models_are_ready() -> None:
    with served() as (process, _):
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "curl" in line:
                break
    told = [next(i for i, line in enumerate(lines) if word in line) for word in ("loading", "model_ready", "curl")]
    assert told == sorted(told)
    assert sum("model_ready" in line for line in lines) == 3
    assert "/readyz" in lines[0]


def test_serve_never_says_that_it_serves_where_a_model_cannot_be_loaded(tmp_path: Path) -> None:
    models = json.dumps([{"id": "test/mine", "source": str(tmp_path), "preload": True}])
    with served(BLIP_SERVE_MODELS=models, BLIP_SERVE_SERVER__SHUTDOWN_DELAY_S="0") as (process, url):
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(2)]
        assert "model_failed" in lines[1]
        wait_until(lambda: "failed" in httpx.get(f"{url}/readyz", trust_env=False).text)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=WAIT_S)
        assert "curl" not in errors


def test_version_is_printed() -> None:
    assert blip_serve("--version").stdout.strip().count(".") == 2


def test_sigterm_during_the_start_is_no_failure() -> None:
    with served() as (process, _):
        assert process.stderr is not None
        process.stderr.readline()  # it says where it will listen, before its event loop runs
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0


def test_serve_may_open_as_many_files_as_it_takes_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        with served(BLIP_SERVE_SERVER__MAX_CONNECTIONS="300") as (process, _):
            enough = 812 if hard == resource.RLIM_INFINITY else min(812, hard)
            wait_until(lambda: resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] >= enough)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
