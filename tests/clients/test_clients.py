"""Clients of the field, each from its own environment, in the folder that `TEST_CLIENTS` names.

`make test-clients` installs them and names it. Elsewhere these tests are skipped. Where it is named, a client of Python
that is missing fails its test; those of Node may be missing, as Node may.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.destination import destination
from blip_serve.jobs.rows import ColumnType, FilePicture, Row
from blip_serve.jobs.sinks import SinkOptions, make_sink
from blip_serve.models.fake import FakeModel
from blip_serve.settings import DEMO, DEMO_ANSWERS, DEMO_CAPTIONS
from tests.support.asking import IMAGE, chat_messages
from tests.support.server import Service, always, fake_settings, sdk, serving, settings

CLIENTS = Path(os.environ.get("TEST_CLIENTS", "/nowhere"))
NODE = shutil.which("node")
PACKAGES = CLIENTS / "node_modules"
HERE = Path(__file__).parent
PICTURES = str(EMBEDDED / "pictures")
CLIENT_S = 240
"""Seconds a client may take: on a busy machine importing LiteLLM alone takes ten."""
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "NO_PROXY": "*",
    "DO_NOT_TRACK": "1",
    "LANGSMITH_TRACING": "false",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NODE_PATH": str(PACKAGES),
}
"""All of a client's environment but its home: no proxy, no keys, nothing asked or told beyond loopback."""

pytestmark = [
    pytest.mark.timeout(CLIENT_S + 60),
    pytest.mark.skipif("TEST_CLIENTS" not in os.environ, reason="make test-clients installs the clients"),
]


@pytest.fixture(scope="module")
def fake() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel("caption"))) as running:
        yield running


@pytest.fixture(scope="module")
def demo() -> Iterator[Service]:
    """The embedded checkpoints, as with nothing configured."""
    with serving(settings(models=(DEMO, DEMO_CAPTIONS, DEMO_ANSWERS))) as running:
        yield running


@pytest.fixture(scope="module")
def texts(fake: Service) -> list[str | None]:
    """What the client of the other tests is answered."""
    with sdk(fake) as client:
        answer = client.chat.completions.create(model="fake", messages=chat_messages("a photo of"), n=2)
    return [choice.message.content for choice in answer.choices]


def seen_by(program: str, script: str, service: Service, given: str, home: Path) -> dict[str, Any]:
    """What a client's script printed on its last line."""
    return printed(program, script, f"{service.url}/v1", given, home)


def printed(program: str, script: str, first: str, second: str, home: Path) -> dict[str, Any]:
    """What a script printed on its last line."""
    ran = subprocess.run(
        [program, str(HERE / script), first, second],
        env=ENVIRONMENT | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=CLIENT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return seen


def python_of(client: str) -> str:
    """The interpreter that has a client."""
    return str(CLIENTS / client / "bin" / "python")


def node_with(package: str) -> str:
    """Node, where it and a package are installed."""
    if not (NODE and (PACKAGES / package).is_dir()):
        pytest.skip(f"npm's {package} is not installed")
    return NODE


def check_talk(seen: dict[str, Any], pieces: int) -> None:
    """A question, a second about its picture, one about another; a caption for an instruction, whole and streamed."""
    assert seen["answers"] == ["blue", "green", "red"]
    assert seen["caption"] == "a large red circle"
    assert "".join(seen["pieces"]) == "a large red circle"
    assert len([piece for piece in seen["pieces"] if piece]) == pieces


def test_langchain_talks(demo: Service, tmp_path: Path) -> None:
    seen = seen_by(python_of("langchain"), "with_langchain.py", demo, PICTURES, tmp_path)
    check_talk(seen, pieces=4)
    assert seen["responses"] == ["blue", "green", "red"]


def test_litellm_talks_and_ranks_pictures(demo: Service, tmp_path: Path) -> None:
    seen = seen_by(python_of("litellm"), "with_litellm.py", demo, PICTURES, tmp_path)
    check_talk(seen, pieces=4)
    assert set(seen["rankings"]) == {"jina_ai", "cohere", "hosted_vllm", "together_ai"}
    for (best, score, picture), (_, other, _) in seen["rankings"].values():
        assert (best, picture) == (1, "red-circle.png")
        assert score > 0.9 > 0.1 > other
    places, scores = ([each[k] for each in seen["infinity"]] for k in range(2))
    assert places == [each[0] for each in seen["rankings"]["cohere"]]
    assert scores == pytest.approx([each[1] for each in seen["rankings"]["cohere"]], abs=1e-5)  # steps differ


def test_pydantic_ai_talks(demo: Service, tmp_path: Path) -> None:
    check_talk(seen_by(python_of("pydantic-ai"), "with_pydantic_ai.py", demo, PICTURES, tmp_path), pieces=4)


def test_llm_goes_on_talking(demo: Service, tmp_path: Path) -> None:
    check_talk(seen_by(python_of("llm"), "with_llm.py", demo, PICTURES, tmp_path), pieces=1)


def test_llama_index_talks(demo: Service, tmp_path: Path) -> None:
    check_talk(seen_by(python_of("llama-index"), "with_llama_index.py", demo, PICTURES, tmp_path), pieces=4)


def test_cohere_embeds_texts_and_pictures(demo: Service, tmp_path: Path) -> None:
    seen = seen_by(python_of("cohere"), "with_cohere.py", demo, PICTURES, tmp_path)
    assert set(seen) == {"float", "int8", "both", "older"}
    for table in seen.values():
        assert [max(range(3), key=row.__getitem__) for row in table] == [0, 1, 2]
        assert all(table[i][i] > 0.5 for i in range(3))


def test_the_ai_sdk_talks(demo: Service, tmp_path: Path) -> None:
    seen = seen_by(node_with("ai"), "with_ai_sdk.cjs", demo, PICTURES, tmp_path)
    check_talk(seen, pieces=4)
    assert seen["sizes"] == [128, 128]


def test_the_npm_client_asks_and_streams(fake: Service, texts: list[str | None], tmp_path: Path) -> None:
    seen = seen_by(node_with("openai"), "node.cjs", fake, IMAGE, tmp_path)
    assert seen["chat"] == texts
    assert {seen["pieces"], seen["reader"], seen["response"], seen["final"]} == {texts[0]}
    assert seen["tokens"] == 20
    assert (seen["events"][0], seen["events"][-1]) == ("response.created", "response.completed")
    assert seen["error"] == [True, 400, "invalid_value", "n"]
    assert seen["models"] == ["test/fake"]


def test_the_first_1_x_client_asks_and_streams(fake: Service, texts: list[str | None], tmp_path: Path) -> None:
    seen = seen_by(python_of("openai-1.0.0"), "python_v1.py", fake, IMAGE, tmp_path)
    assert seen["version"] == "1.0.0"
    assert (seen["chat"], seen["pieces"]) == (texts, texts[0])
    assert seen["error"] == [True, 400, "invalid_value", "n"]
    assert seen["models"] == ["test/fake"]


def written(to: Path, kind: str | None = None, **options: Any) -> Path:
    """What a bulk run writes of two pictures. The second has no columns but its picture's."""
    columns: dict[str, ColumnType] = {"caption": "string", "embedding": "vector", "extra": "json"}
    sink = make_sink(destination(str(to), kind), SinkOptions(columns, "caption", **options))
    part = sink.part("000000")
    for number, name in enumerate(("red-circle.png", "pink-star.png")):
        picture = BytesImage(Path(PICTURES, name).read_bytes(), "image")
        fields = {"caption": "a circle", "embedding": [0.5, -1.0], "extra": {"a": [1]}} if number == 0 else {}
        part.add(Row(number, name, {}, FilePicture(str(to.parent / name))), picture, dict.fromkeys(columns) | fields)
    part.commit()
    sink.join(["000000"])
    sink.clean(["000000"])
    return to


def test_datasets_reads_pictures_and_columns_of_an_image_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("red-circle.png", "pink-star.png"):
        shutil.copy(Path(PICTURES, name), tmp_path / "photos")
    beside = written(tmp_path / "photos" / "metadata.jsonl").parent
    copied = written(tmp_path / "set", "imagefolder")
    for folder in (copied, beside):
        seen = printed(python_of("datasets"), "with_datasets.py", "imagefolder", str(folder), tmp_path / "home")
        assert seen["types"]["image"] == "PIL.Image.Image"
        assert seen["rows"] == [
            {"image": [384, 384], "key": "red-circle.png", "caption": "a circle", "embedding": [0.5, -1.0],
             "extra": '{"a": [1]}'},
            {"image": [384, 384], "key": "pink-star.png", "caption": None, "embedding": None, "extra": None},
        ]  # fmt: skip


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_datasets_reads_pictures_and_columns_of_parquet(tmp_path: Path, folder: bool) -> None:
    to = written(tmp_path / ("set" if folder else "out.parquet"), "parquet", pictures=True)
    seen = printed(python_of("datasets"), "with_datasets.py", "parquet", str(to), tmp_path / "home")
    assert seen["types"] == {
        "key": "string",
        "caption": "string",
        "embedding": "List(Value('float32'))",
        "extra": "string",
        "image": "PIL.Image.Image",
    }
    assert [(row["key"], row["image"], row["embedding"]) for row in seen["rows"]] == [
        ("red-circle.png", [384, 384], [0.5, -1.0]),
        ("pink-star.png", [384, 384], None),
    ]


def test_datasets_reads_lines(tmp_path: Path) -> None:
    seen = printed(
        python_of("datasets"), "with_datasets.py", "json", str(written(tmp_path / "out.jsonl")), tmp_path / "home"
    )
    assert [row["caption"] for row in seen["rows"]] == ["a circle", None]
    assert seen["rows"][0]["extra"] == {"a": [1]}
