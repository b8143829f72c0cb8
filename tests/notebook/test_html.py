"""What a notebook shows of results: upright pictures within bounds, and no text that becomes markup."""

from pathlib import Path

import pytest
from PIL import Image

from blip_serve.domain import Caption, Explanation, GeneratedText, MatchScores, WordMap
from blip_serve.errors import InvalidInput
from blip_serve.images.local import source_of
from blip_serve.images.reference import BytesImage, ImageSource
from blip_serve.notebook.album import MOST, SIDE, Given, given
from blip_serve.notebook.html import decide_html, embed_html, explain_html, generate_html, match_html, rerank_html
from blip_serve.notebook.recent import Recent
from blip_serve.settings import ImageSettings
from blip_serve.tasks.decide import DecideResult
from blip_serve.tasks.embed import EmbedResult
from blip_serve.tasks.explain import Explained, ExplainResult
from blip_serve.tasks.generate import GenerateResult
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.match import MatchPair, MatchResult
from blip_serve.tasks.questions import Question, answer_of, choice, predicate, scale
from blip_serve.tasks.rerank import RankedDocument, RerankResult
from tests.images.samples import file_bytes
from tests.notebook.results import SERVED, Page

EVIL = "</figcaption><script>alert(1)</script><img src=x onerror='alert(1)'>&lt;\"--><style>*{}"
RED = file_bytes(Image.new("RGB", (80, 40), "red"), "PNG")
HOT = ((0.0, 1.0), (0.0, 0.0))

RECENT = Recent()


def kept(*inputs: bytes | Path | str | Caption | ImageSource) -> Given:
    """Inputs as `BlipServe` keeps them."""
    read: list[Input] = [each if isinstance(each, Caption) else source_of(each, "image") for each in inputs]
    return given(ImageSettings(), RECENT, inputs, read)


def matched(images: int, captions: int = 1) -> MatchResult:
    scores = MatchScores((0.0, 1.0), 0.75, -0.5)
    return MatchResult(tuple(MatchPair(i, j, scores) for i in range(images) for j in range(captions)), **SERVED)


def explained(*words: str, images: int = 1, maximum: float = 0.0123) -> ExplainResult:
    maps = tuple(WordMap(word, 0, 1, HOT, maximum) for word in words)
    explanation = Explanation("gradcam", 0, (80, 40), maps, (0.0, 1.0), 0.75)
    return ExplainResult(tuple(Explained(i, 0, explanation) for i in range(images)), **SERVED)


def test_a_match_shows_the_picture_and_the_numbers() -> None:
    page = Page(match_html(kept(RED), [Caption("a red wall", "captions")], matched(1)))
    assert page.text.split("\n")[:3] == ["demo (hf)", "picture 1", "a red wall"]
    assert "0.7500" in page.text
    assert "-0.5000" in page.text
    assert page.alts == ["picture 1"]
    assert page.pictures[0].size == (80, 40)


def test_a_pair_that_failed_shows_its_error() -> None:
    failed = MatchResult((MatchPair(0, 0, error=InvalidInput("no <b>picture")),), **SERVED)
    assert "error: no <b>picture" in Page(match_html(kept(RED), [Caption("a", "captions")], failed)).text


@pytest.mark.parametrize("folder", ["as-it-is", EVIL.replace("/", "")])
def test_no_text_of_a_user_becomes_markup(folder: str, tmp_path: Path) -> None:
    file = tmp_path / f"{folder}.png"
    file.write_bytes(RED)
    text, asked = Caption(EVIL, "captions"), choice(EVIL, [EVIL, "b"])
    served = SERVED | {"model": EVIL}
    texts = (GeneratedText(EVIL, "stop", 3),)
    for html in (
        match_html(kept(file), [text], MatchResult(matched(1).pairs, **served)),
        generate_html(kept(file), text, GenerateResult(texts, **SERVED)),
        embed_html(kept(file, text), EmbedResult(((1.0,), (1.0,)), **SERVED)),
        rerank_html(kept(text, file), RerankResult((RankedDocument(0, 1.0, MatchScores()),), **SERVED)),
        decide_html(kept(file), [asked], DecideResult((answer_of(asked, [1.0, 0.0]),), **SERVED)),
        explain_html(kept(file), [text], text, explained(EVIL)),
    ):
        page = Page(html)
        assert EVIL in page.text
        assert f"{folder}.png" in page.alts[0]


def test_pictures_are_upright_and_small_and_the_heat_lies_where_it_is_hot() -> None:
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    lying = Image.new("RGB", (900, 600), "red")
    lying.paste("blue", (0, 0, 450, 600))  # upright: blue above
    data = file_bytes(lying, "JPEG", exif=exif)
    [shown] = Page(match_html(kept(data), [Caption("a", "captions")], matched(1))).pictures
    assert shown.size == (SIDE * 2 // 3 + 1, SIDE)
    assert near(shown, 85, 30, (0, 0, 255))
    page = Page(explain_html(kept(data), [Caption("red", "captions")], None, explained("red")))
    [hot] = page.pictures
    assert page.alts == ["picture 1: red, strongest: upper right"]
    assert near(hot, hot.width - 5, 5, (202, 185, 80))  # yellow over blue
    assert near(hot, 5, hot.height - 5, (255, 0, 0))


def near(picture: Image.Image, x: int, y: int, colour: tuple[int, int, int]) -> bool:
    found = picture.convert("RGB").getpixel((x, y))
    assert isinstance(found, tuple)
    return all(abs(a - b) <= 12 for a, b in zip(found, colour, strict=True))


def test_maxima_of_faint_words_can_be_compared() -> None:
    page = Page(explain_html(kept(RED), [Caption("red", "captions")], None, explained("red", maximum=8.1e-6)))
    assert "8.10e-06" in page.text


def test_maps_do_not_fill_the_screen_of_a_terminal() -> None:
    assert len(repr(explained("a", "red", "wall"))) < 1000


def test_no_more_pictures_are_shown_than_the_bound_and_the_others_are_counted() -> None:
    many = MOST + 76
    caption = Caption("a", "captions")
    ranked = RerankResult(tuple(RankedDocument(i, 1.0, MatchScores(None, 1.0)) for i in range(many)), **SERVED)
    embedded = EmbedResult(((1.0, 0.0),) * many, **SERVED)
    for html, what in (
        (match_html(kept(*[RED] * many), [caption], matched(many)), "pictures"),
        (rerank_html(kept(caption, *[RED] * many), ranked), "documents"),
        (embed_html(kept(*[RED] * many), embedded), "inputs"),
        (explain_html(kept(*[RED] * 4), [caption], None, explained(*"a" * 25, images=4)), "words"),
    ):
        page = Page(html)
        assert len(page.pictures) == MOST
        assert f"and 76 more {what}" in page.text


def test_a_long_text_and_many_lines_are_cut() -> None:
    captions = [Caption("x" * 9999, "captions")] * 25
    page = Page(match_html(kept(RED), captions, matched(1, 25)))
    assert page.text.count("x" * 200 + "...\n") == MOST
    assert "and 1 more caption\n" in page.text


def test_a_file_is_kept_as_its_path_and_one_that_is_gone_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "wall.png"
    file.write_bytes(RED)
    inputs = kept(file)
    assert inputs.inputs == (file,)
    file.unlink()
    page = Page(match_html(inputs, [Caption("a", "captions")], matched(1)))
    assert page.pictures == []
    assert "wall.png" in page.text


def test_a_linked_picture_is_not_fetched_again() -> None:
    page = Page(match_html(kept("http://127.0.0.1:1/a.png"), [Caption("a", "captions")], matched(1)))
    assert page.pictures == []
    assert "http://127.0.0.1:1/a.png" in page.text


def test_decisions_show_each_answer() -> None:
    questions: list[Question] = [
        predicate("a wall"),
        choice("a {} wall", ["red", "blue"]),
        scale("a {} wall", ["low", "high"]),
    ]
    numbers = [[0.9], [2.0, 0.0], [0.0, 0.0]]
    answers = tuple(answer_of(*each) for each in zip(questions, numbers, strict=True))
    text = Page(decide_html(kept(BytesImage(RED, "image")), questions, DecideResult(answers, **SERVED))).text
    for told in ("a wall\ntrue\n0.9000", "a {} wall \nred\nred\n0.8808", "level 0.50\nlow\n0.5000"):
        assert told in text


def test_data_are_shown_while_they_are_among_the_last_that_were_given() -> None:
    recent, first, second = Recent(most=25), BytesImage(bytes(10), "image"), BytesImage(bytes(20), "image")
    one = recent.keep(first)
    assert one() is not None
    two = recent.keep(second)
    assert one() is None
    held = two()
    assert held is not None
    assert held.source is second
