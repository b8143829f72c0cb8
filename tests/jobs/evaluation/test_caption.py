"""Captions as COCO's evaluation measures them, with the model of the package."""

import json
from pathlib import Path

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.jobs.evaluation.caption import STYLES, Captioning, image_id
from blip_serve.jobs.evaluation.caption_metrics import CaptionScorer, caption_scorer
from blip_serve.jobs.evaluation.gallery import Entry, gallery
from blip_serve.jobs.evaluation.karpathy import read_entries
from blip_serve.jobs.rows import FilePicture
from blip_serve.models.captioner import Captioner
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.generate import CaptionRequest
from tests.jobs.evaluation.measuring import PICTURES, SHOWN, measured, written
from tests.support.loading import load
from tests.support.reference import CaptionReference


def coco(folder: Path) -> Path:
    """The pictures of the package in COCO's format, with two captions each; the numbers are not those of the names."""
    numbers = {name: 100 + i for i, name in enumerate(SHOWN)}
    captions = [
        {"id": 1000 * i + number, "image_id": number, "caption": text}
        for name, number in numbers.items()
        for i, text in enumerate((SHOWN[name]["caption"], f"{SHOWN[name]['caption'].capitalize()}."))
    ]
    images = [{"id": number, "file_name": name} for name, number in numbers.items()]
    return written(folder / "captions.json", {"images": images, "annotations": captions})


def without_java() -> CaptionScorer:
    return caption_scorer(lambda name: None)


def evaluation(folder: Path, results: Path | None = None, style: str = "paper") -> Captioning:
    found = gallery(read_entries(coco(folder), PICTURES, "test"), "captions.json")
    return Captioning(
        found, "captions.json", without_java(), STYLES["hf" if style == "hf" else "paper"], results=results
    )


@pytest.mark.parametrize("style", ["paper", "hf"])
def test_captions_are_those_of_transformers_and_go_into_a_file(tmp_path: Path, style: str) -> None:
    captioning = evaluation(tmp_path, tmp_path / "results.json", style)
    found, _ = measured(captioning, load(Captioner, EMBEDDED / "demo-captioning"), tmp_path / "state")
    reference, prompt = CaptionReference(EMBEDDED / "demo-captioning"), captioning.style.prompt
    # lengths as salesforce/BLIP gives them, with the begin token and the prompt counted
    options = {"num_beams": 3, "max_length": 20, "min_length": 5} if style == "paper" else {"max_new_tokens": 20}
    texts = [reference.generate((PICTURES / name).read_bytes(), prompt, **options)[1][0] for name in SHOWN]
    results = json.loads((tmp_path / "results.json").read_text())
    assert [each["image_id"] for each in results] == [100 + i for i in range(len(SHOWN))]
    assert [each["caption"] for each in results] == [text.removeprefix(prompt) for text in texts]
    figures = captioning.scorer.figures(
        {str(i): entry.texts for i, entry in enumerate(captioning.gallery.entries)},
        {str(i): text.removeprefix(prompt) for i, text in enumerate(texts)},
    )
    assert found.figures == figures
    assert found.counts == {"pictures": len(SHOWN), "reference captions": 2 * len(SHOWN)}
    if style == "hf":
        assert figures["BLEU-1"] > 90


def test_captions_are_generated_after_the_papers_prompt(tmp_path: Path) -> None:
    _, asked = measured(evaluation(tmp_path), FakeModel("caption"), tmp_path / "state")
    requests = [request for request in asked if isinstance(request, CaptionRequest)]
    assert len(requests) == len(SHOWN)
    assert {request.text.text for request in requests} == {"a picture of "}
    assert {(request.options.num_beams, request.options.max_tokens) for request in requests} == {(3, 16)}


def test_published_figures_are_shown_for_coco_alone(tmp_path: Path) -> None:
    captioning = evaluation(tmp_path)
    assert not captioning.published
    known = Captioning(captioning.gallery, "coco_karpathy_test.json", captioning.scorer, known=True)
    assert known.published[0].figures["CIDEr"] == 133.5


def test_the_notes_say_how_captions_are_made_and_measured(tmp_path: Path) -> None:
    notes = " ".join(evaluation(tmp_path).notes("paper"))
    assert "3 beams, 16 tokens at most, after 'a picture of', which is taken off" in notes
    assert "METEOR needs Java: not measured" in notes
    assert "greedily, 20 tokens at most, without a prompt" in " ".join(evaluation(tmp_path, style="hf").notes("hf"))


@pytest.mark.parametrize(
    ("name", "number", "wanted"),
    [
        ("val2014/COCO_val2014_000000391895.jpg", None, 391895),
        ("000000391895.jpg", 7, 7),
        ("photos/dog.png", None, "photos/dog.png"),
    ],
)
def test_a_picture_has_cocos_number(name: str, number: int | None, wanted: int | str) -> None:
    assert image_id(Entry(name, FilePicture(name), ("a dog",), number)) == wanted


def test_pictures_of_karpathys_test_file_have_cocos_names(tmp_path: Path) -> None:
    content = {"images": [{"id": 42}], "annotations": [{"image_id": 42, "caption": "a circle", "id": 1}]}
    [entry] = read_entries(written(tmp_path / "coco_karpathy_test_gt.json", content), None, "test")
    assert (entry.name, entry.texts, entry.number) == ("COCO_val2014_000000000042.jpg", ("a circle",), 42)
