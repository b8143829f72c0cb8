"""`blip-serve bulk` as a process, with the embedded checkpoints: each operator, going on, and what people are told."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.models.fake import FakeModel
from tests.support.command import blip_serve
from tests.support.fake_bulk import Ended, fake_bulk
from tests.support.server import always, fake_settings, serving

PICTURES = EMBEDDED / "pictures"
NAMES = sorted(path.name for path in PICTURES.glob("*.png"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Each picture with a text that is true of the fourth alone."""
    path = tmp_path / "pairs.jsonl"
    rows = [{"image": str(PICTURES / name), "alt": "a large red circle", "score": i} for i, name in enumerate(NAMES)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def bulk(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return blip_serve("bulk", *map(str, arguments), **environment)


def planned(*arguments: object) -> Ended:
    """The same with a fake model, much faster."""
    return fake_bulk([str(each) for each in arguments])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (["caption", "--beams", 3], {"caption"}),
        (["answer", "--question", "what colour is it?"], {"answer"}),
        (["match", "--text", "alt"], {"itm_score", "cosine_score"}),
        (["embed"], {"embedding"}),
        (["predicate", "--statement", "a red circle"], {"probability"}),
        (["filter", "--by", "itm_score", "--text", "alt", "--at-least", 0.5], {"itm_score"}),
        (["capfilt", "--text", "alt"], {"synthetic", "web_itm_score", "synthetic_itm_score", "kept", "texts"}),
    ],
    ids=lambda given: " ".join(map(str, given)) if isinstance(given, list) else "",
)
def test_each_operator_writes_its_columns(
    tmp_path: Path, pairs: Path, arguments: list[object], columns: set[str]
) -> None:
    operator, *options = arguments
    done = bulk(operator, pairs, "--root", "/", *options, "--to", tmp_path / "out.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    summary, written = json.loads(done.stdout), rows(tmp_path / "out.jsonl")
    assert (summary["rows"], summary["kept"]) == (len(NAMES), len(written))
    assert all(row.keys() == {"key", "image", "alt", "score"} | columns for row in written)
    assert 0 < len(written) <= len(NAMES)


def test_a_folder_with_a_broken_picture_is_captioned_but_for_that_one(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in NAMES:
        (photos / name).write_bytes((PICTURES / name).read_bytes())
    (photos / "broken.png").write_bytes((PICTURES / NAMES[0]).read_bytes()[:300])
    done = bulk("caption", photos, "--sidecar", ".txt")
    assert done.returncode == 1
    assert "blip-serve: broken.png: The file is not a readable image" in done.stderr
    assert "failed: invalid_image" in done.stderr
    assert (photos / "red-circle.txt").read_text() == "a large red circle\n"
    assert left(photos) == {".bulk", "broken.png", *NAMES, *(f"{name[:-4]}.txt" for name in NAMES)}
    [rejected] = rows(tmp_path / "photos.rejects.jsonl")
    assert (rejected["key"], rejected["error"]["code"]) == ("broken.png", "invalid_image")


def test_the_plan_comes_first_and_a_dry_run_leaves_nothing(tmp_path: Path, pairs: Path) -> None:
    to = tmp_path / "out.jsonl"
    dry = bulk("match", pairs, "--text", "alt", "--to", to, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "")
    assert dry.stderr.splitlines() == [
        f"blip-serve: match by blip-serve/demo-retrieval: 6 rows, to {to}",
        "blip-serve: a dry run: nothing was done",
    ]
    assert left(tmp_path) == {"pairs.jsonl"}


def test_a_plan_counts_the_files_that_are_no_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes((PICTURES / NAMES[0]).read_bytes())
    (folder / "notes.png").write_text("no picture")
    done = planned("caption", folder, "--to", tmp_path / "out.jsonl", "--dry-run")
    assert "1 row, to" in done.said
    assert "blip-serve: passed over 1, none of AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, WEBP: notes.png" in done.said


def test_a_limit_a_dry_run_and_the_rest(tmp_path: Path, pairs: Path) -> None:
    arguments = ["filter", pairs, "--by", "score", "--at-least", 0, "--to", tmp_path / "out.jsonl"]
    assert planned(*arguments, "--limit", 2).code == 0
    assert [row["score"] for row in rows(tmp_path / "out.jsonl")] == [0, 1]
    before = left(tmp_path)
    assert "6 rows, 2 done before" in planned(*arguments, "--dry-run").said
    assert left(tmp_path) == before
    assert planned(*arguments).code == 0
    assert [row["score"] for row in rows(tmp_path / "out.jsonl")] == list(range(6))


def test_a_dry_run_of_standard_input_goes_on_with_what_was_kept(tmp_path: Path, pairs: Path) -> None:
    def run(*more: object) -> subprocess.CompletedProcess[str]:
        arguments = ["bulk", "filter", "-", "--by", "score", "--to", tmp_path / "out.jsonl", *more]
        return subprocess.run(
            [sys.executable, "-m", "blip_serve", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            input=pairs.read_text(),
        )

    assert "6 rows, to" in run("--at-least", 0, "--dry-run").stderr
    assert run("--at-least", 0, "--limit", 2).returncode == 0
    assert "6 rows, 2 done before" in run("--at-least", 0, "--dry-run").stderr
    other = run("--at-least", 1, "--dry-run")
    assert other.stderr.startswith(f"blip-serve: {tmp_path}/out.jsonl.bulk: a run with other options began here")
    assert other.returncode == 2


def test_columns_of_one_name_are_kept_apart_and_it_is_said(tmp_path: Path, pairs: Path) -> None:
    changed = tmp_path / "changed.jsonl"
    changed.write_text(pairs.read_text().replace('"score"', '"probability"'))
    arguments = ["predicate", changed, "--root", "/", "--statement", "a red circle", "--to", tmp_path / "out.jsonl"]
    done = planned(*arguments)
    assert "column 'probability' is written as 'source_probability': predicate makes its own" in done.said
    assert [row["source_probability"] for row in rows(tmp_path / "out.jsonl")] == list(range(6))


FILTER = ("--by", "score", "--at-least", "0")
WRONG = [
    (["match", "PAIRS", "--to", "OUT"], "Missing option '--text'"),
    (["match", "PAIRS", "--text", "alts", "--to", "OUT"], "The source has no column 'alts'. Is it 'alt'?"),
    (["filter", "PAIRS", *FILTER], "--to is missing"),
    (["filter", "PAIRS", *FILTER, "--to", "out"], "its name does not tell what to write"),
    (["filter", "PAIRS", *FILTER, "--to", "s3://bucket/out.jsonl"], "Results are written to no URL or pipe"),
    (["filter", "PAIRS", *FILTER, "--to", "PAIRS"], "it is there already, and no bulk run wrote it"),
    (["filter", "PAIRS", *FILTER, "--to", "OUT", "--rejects", "PAIRS"], "it is there already, or is"),
    (["filter", "PAIRS", *FILTER, "--to", "OUT", "--rejects", "OUT"], "is --to itself"),
    (["filter", "PAIRS", *FILTER, "--to", "OUT", "--shard", "9/8"], "such as 2/8"),
    (["filter", "PAIRS", "--by", "score", "--to", "OUT"], "Give --at-least, --best or --precision"),
    (["filter", "nowhere.jsonl", *FILTER, "--to", "OUT"], "nowhere.jsonl"),
    (["embed", "PAIRS", "--sidecar", ".txt", "--to", "texts"], "this operator makes none"),
    (["match", "PAIRS", "--text", "alt", "--to", "OUT", "--url", "ftp://x"], "The server's URL reads"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_options_end_with_2_and_leave_nothing(
    tmp_path: Path, pairs: Path, arguments: list[str], message: str
) -> None:
    names = {"PAIRS": str(pairs), "OUT": str(tmp_path / "out.jsonl")}
    before = pairs.read_bytes()
    done = planned(*[names.get(each, each) for each in arguments])
    assert message in " ".join(done.said.replace("│", " ").split())
    assert done.code == 2
    assert (left(tmp_path), pairs.read_bytes()) == ({"pairs.jsonl"}, before)


def test_an_unknown_model_is_told_before_anything_is_done(tmp_path: Path, pairs: Path) -> None:
    done = planned("match", pairs, "--text", "alt", "--to", tmp_path / "out.jsonl", "--model", "nobody")
    assert done.code == 1
    assert "nobody" in done.said
    assert left(tmp_path) == {"pairs.jsonl"}


def test_a_run_with_other_options_is_refused_with_the_difference(tmp_path: Path, pairs: Path) -> None:
    arguments = ["filter", pairs, "--by", "score", "--to", tmp_path / "out.jsonl", "--at-least"]
    assert planned(*arguments, 0).code == 0
    again = planned(*arguments, 3)
    assert again.code == 2
    assert "a run with other options began here (at_least was 0.0, is 3.0)" in again.said
    (tmp_path / "out.jsonl").unlink()
    assert "it is gone, though its run ended" in planned(*arguments, 0).said


def test_a_state_behind_a_link_is_refused_and_nothing_there_is_touched(tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for folder in (photos, elsewhere / "parts"):
        folder.mkdir(parents=True)
    (photos / "a.png").write_bytes((PICTURES / NAMES[0]).read_bytes())
    (elsewhere / "mine").touch()
    (photos / ".bulk").symlink_to(elsewhere)
    (tmp_path / "out.jsonl.bulk").symlink_to(elsewhere)
    for arguments in (["--sidecar", ".txt"], ["--to", photos, "--as", "webdataset"], ["--to", tmp_path / "out.jsonl"]):
        done = planned("caption", photos, *arguments)
        assert (done.code, "this is a link" in done.said) == (2, True), done.said
    assert sorted(path.name for path in elsewhere.iterdir()) == ["mine", "parts"]


def test_a_run_that_begins_anew_deletes_only_what_runs_make(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((PICTURES / NAMES[0]).read_bytes())
    assert planned("caption", tmp_path, "--to", tmp_path / "metadata.jsonl").code == 0
    assert planned("caption", tmp_path, "--sidecar", ".txt").code == 0
    (tmp_path / ".bulk" / "mine").touch()
    assert planned("caption", tmp_path, "--sidecar", ".txt", "--prefix", "x").code == 0
    assert (tmp_path / ".bulk" / "mine").exists()
    again = planned("caption", tmp_path, "--to", tmp_path / "metadata.jsonl")
    assert (again.code, "1 done before" in again.said) == (0, True), again.said


def test_a_sidecar_that_was_deleted_is_written_again(tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / name).write_bytes((PICTURES / name).read_bytes())
    assert planned("caption", tmp_path, "--sidecar", ".txt").code == 0
    texts = {path: path.read_bytes() for path in tmp_path.glob("*.txt")}
    next(iter(texts)).unlink()
    assert planned("caption", tmp_path, "--sidecar", ".txt").code == 0
    assert {path: path.read_bytes() for path in tmp_path.glob("*.txt")} == texts


def test_rejects_replace_no_file_that_is_there_or_read(tmp_path: Path, pairs: Path) -> None:
    arguments = ["filter", "--by", "score", "--at-least", 3]
    assert planned(*arguments, pairs, "--to", tmp_path / "right.jsonl").code == 0
    wrong = tmp_path / "right.jsonl.rejects.jsonl"
    kept = wrong.read_bytes()
    taken = planned(*arguments, wrong, "--to", tmp_path / "other.jsonl", "--rejects", wrong)
    assert (taken.code, "it is there already" in taken.said) == (2, True)
    again = planned(*arguments, wrong, "--to", tmp_path / "right.jsonl")
    assert (again.code, "it is a source, and would be replaced" in again.said) == (2, True)
    beside = tmp_path / "new.jsonl.rejects.jsonl"
    beside.touch()
    assert planned(*arguments, pairs, "--to", tmp_path / "new.jsonl").code == 2
    assert (wrong.read_bytes(), beside.exists()) == (kept, True)


def test_pictures_are_not_copied_into_the_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "a.png").write_bytes((PICTURES / NAMES[0]).read_bytes())
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    arguments = ["caption", tmp_path / "photos", "--as", "imagefolder", "--to"]
    for inside in (tmp_path / "photos" / "deep" / "out", tmp_path / "link" / "out"):
        done = planned(*arguments, inside)
        assert (done.code, "the copies would be pictures of" in done.said) == (2, True)
    assert left(tmp_path / "photos") == {"deep", "a.png"}
    assert planned(*arguments, tmp_path / "out").code == 0


def interrupted(arguments: list[str], number: signal.Signals) -> tuple[int, str]:
    """Sends a signal when the run is under way. Returns the exit code, and what the run said after that."""
    command = [sys.executable, "-m", "blip_serve", "bulk", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith("left\n"):
                process.send_signal(number)
                break
        said = process.stderr.read()
    return process.returncode, said


@pytest.mark.full  # half a minute on a slow machine
def test_a_signal_ends_a_run_cleanly_and_it_goes_on(tmp_path: Path) -> None:
    many, to = tmp_path / "many.jsonl", tmp_path / "out.jsonl"
    row = json.dumps({"image": str(PICTURES / "red-circle.png"), "alt": "a red circle"})
    many.write_text(f"{row}\n" * 1500)
    arguments = ["match", str(many), "--root", "/", "--text", "alt", "--to", str(to)]
    stopped = (130, "blip-serve: stopped; the same command goes on from here\n")
    assert interrupted(arguments, signal.SIGINT) == stopped
    assert interrupted(arguments, signal.SIGTERM) == stopped
    assert not to.exists()
    assert bulk(*arguments).returncode == 0
    assert [row["key"] for row in rows(to)] == [f"many.jsonl:{line}" for line in range(1, 1501)]


@contextmanager
def slow_at_first() -> Iterator[tuple[int, threading.Event]]:
    """A web server with a picture, which answers once the event is set."""
    ready, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))
    picture = (PICTURES / "red-circle.png").read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(picture)}\r\n\r\n".encode()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(10_000)
                if ready.is_set():
                    connection.sendall(head + picture)
                else:
                    connection.recv(1)  # until the client has enough

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], ready
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_picture_that_came_too_late_is_taken_up_again(tmp_path: Path) -> None:
    with slow_at_first() as (port, ready):
        source, to = tmp_path / "urls.jsonl", tmp_path / "out.jsonl"
        row = json.dumps({"image": f"http://127.0.0.1:{port}/a.png"})
        source.write_text(f"{row}\n{json.dumps({'image': str(PICTURES / NAMES[0])})}\n")
        config = tmp_path / "fetch.yaml"
        config.write_text(f"images: {{fetch: {{private_hosts: ['127.0.0.1:{port}'], timeout_s: 0.3}}}}")
        arguments = ["embed", source, "--root", "/", "--to", to, "--config", config]
        first = planned(*arguments)
        assert (first.code, len(rows(to))) == (1, 1), first.said
        assert "failed: image_fetch_timeout" in first.said
        ready.set()
        assert "1 row failed and may pass now; use --retry-failed" in planned(*arguments).said
        again = planned(*arguments, "--retry-failed")
    assert again.code == 0, again.said
    assert sorted(row["key"] for row in rows(to)) == ["urls.jsonl:1", "urls.jsonl:2"]
    assert not (tmp_path / "out.jsonl.rejects.jsonl").exists()


def test_a_server_answers_in_place_of_models_here(tmp_path: Path, pairs: Path) -> None:
    to = tmp_path / "out.jsonl"
    with serving(fake_settings(), always(FakeModel())) as service:
        done = bulk("match", pairs, "--root", "/", "--text", "alt", "--to", to, "--url", service.url)
    assert done.returncode == 0, done.stderr
    assert "match by test/fake: 6 rows" in done.stderr
    assert len(rows(to)) == 6


def test_a_run_goes_on_with_the_model_and_protocol_of_before_only(tmp_path: Path, pairs: Path) -> None:
    arguments = ["match", pairs, "--root", "/", "--text", "alt", "--to", tmp_path / "out.jsonl"]
    assert planned(*arguments, "--limit", 1).code == 0
    assert planned(*arguments, "--limit", 2, "--protocol", "hf").code == 0
    config = tmp_path / "other.yaml"
    config.write_text("models: [{id: blip-serve/demo-retrieval, protocol: paper}]")
    other = planned(*arguments, "--config", config)
    assert (other.code, 'protocols was ["hf"], is ["paper"]' in other.said) == (2, True), other.said
    with serving(fake_settings(), always(FakeModel())) as service:
        other = planned(*arguments, "--url", service.url)
    assert (other.code, 'models was ["blip-serve/demo-retrieval"], is ["test/fake"]' in other.said) == (2, True), (
        other.said
    )


def test_a_server_that_is_not_there_ends_the_run(tmp_path: Path, pairs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    done = bulk("match", pairs, "--root", "/", "--text", "alt", "--to", tmp_path / "out.jsonl", "--url", url)
    assert done.returncode == 1
    assert url.removeprefix("http://") in done.stderr
    assert left(tmp_path) == {"pairs.jsonl"}
