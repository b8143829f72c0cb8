"""`blip-serve embed` and `blip-serve rerank`, as processes."""

import json
import math

import pytest

from blip_serve.catalogue import EMBEDDED
from tests.support.command import blip_serve

PICTURES = EMBEDDED / "pictures"
RED = str(PICTURES / "red-circle.png")
STAR = str(PICTURES / "pink-star.png")
TEXTS = ("--document", "a pink star", "--document", "a large red circle", "--document", "a large blue circle")


def dot(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_embed_prints_a_line_a_vector() -> None:
    done = blip_serve("embed", RED, STAR, "--text", "a large red circle", "--json", BLIP_SERVE_DTYPE="float32")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["input"] for line in lines] == [RED, STAR, "a large red circle"]
    red, star, text = [line["embedding"] for line in lines]
    assert math.hypot(*red) == pytest.approx(1, abs=1e-6)
    assert dot(red, text) > dot(star, text)


def test_embed_prints_a_table() -> None:
    done = blip_serve("embed", "--text", "a large red circle", "--protocol", "paper")
    assert done.returncode == 0, done.stderr
    assert "blip-serve/demo-retrieval (paper), 128 dimensions" in done.stdout
    assert "a large red circle" in done.stdout


def test_where_onednn_may_not_use_bfloat16_the_number_type_is_float32() -> None:
    """oneDNN then refuses it, though the CPU may have it: `dtype: auto` that looks at the CPU alone would fail."""
    done = blip_serve("embed", "--text", "a large red circle", ONEDNN_MAX_CPU_ISA="AVX2")
    assert done.returncode == 0, done.stderr


def test_rerank_orders_texts_by_an_image_in_two_stages() -> None:
    arguments = ("--query-image", RED, *TEXTS, "--shortlist", "2", "--top-n", "1", "--rank-by", "paper")
    [row] = json.loads(blip_serve("rerank", *arguments, "--json").stdout)
    assert row["document"] == "a large red circle"
    assert row["relevance_score"] == pytest.approx(row["itm_logits"][1] + row["cosine_score"])


def test_rerank_prints_images_the_best_for_a_text_first() -> None:
    done = blip_serve("rerank", STAR, RED, "--query", "a large red circle")
    assert done.returncode == 0, done.stderr
    assert "relevance (itm)" in done.stdout
    first, second = (line for line in done.stdout.splitlines() if line.startswith(("│ 1 │", "│ 2 │")))
    assert RED in first
    assert STAR in second


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["embed"], 2, "give images, or texts with --text"),
        (["embed", "nothing.png"], 2, "nothing.png: No such file"),
        (["embed", "--text", " "], 1, "--text ' ': The text is blank"),
        (["embed", "http://127.0.0.1/a.png"], 1, "http://127.0.0.1/a.png: "),
        (["embed", "--text", "a", "--model", "blip-vqa-base"], 1, "does not do this task (embed)"),
        (["rerank", "--query", "a"], 2, "give images, or texts with --document"),
        (["rerank", RED], 2, "give one of --query and --query-image"),
        (["rerank", RED, "--query", "a", "--query-image", RED], 2, "give one of --query and --query-image"),
        (["rerank", RED, "--query-image", RED], 1, f"{RED}: This image would be scored against another image"),
        (["rerank", "--query", "a", "--document", "b"], 1, "--document 'b': This text would be scored against another"),
        (["rerank", RED, "--query", "a", "--top-n", "0"], 2, "--top-n"),
        (["rerank", RED, "--query", "a", "--shortlist", "-1"], 2, "--shortlist"),
        (["rerank", RED, "--query", "a", "--rank-by", "size"], 2, "--rank-by"),
    ],
)
def test_mistakes_are_told_in_a_line_without_a_traceback(arguments: list[str], code: int, words: str) -> None:
    done = blip_serve(*arguments)
    assert done.returncode == code
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
