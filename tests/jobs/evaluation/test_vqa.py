"""Visual question answering on VQA's files, with the model of the package."""

import json
from pathlib import Path
from typing import Any

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.vqa import GENERATED, Vqa
from blip_serve.jobs.evaluation.vqa_accuracy import accuracy
from blip_serve.jobs.evaluation.vqa_files import read_annotations, read_answers, read_questions
from blip_serve.models.answerer import Answerer
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.generate import AnswerRequest
from tests.jobs.evaluation.measuring import PICTURES, measured, written
from tests.support.loading import load

ASKED = [
    ("red-circle.png", "what colour is the circle?", "red", "other"),
    ("red-circle.png", "how many shapes are there?", "one", "number"),
    ("pink-star.png", "what shape is it?", "star", "other"),
    ("red-circle.png", "is there a large blue circle?", "no", "yes/no"),
    ("pink-star.png", "is there a small pink star?", "yes", "yes/no"),
]
"""Pictures with questions, what the model of the package answers, and the kind of answer."""
GIVEN = {"red": ["Red"] * 8 + ["pink"] * 2, "one": ["1"] * 3 + ["two"] * 7, "star": ["a star."] * 2 + ["x"] * 8,
         "no": ["no"] * 10, "yes": ["no"] * 9 + ["yes"]}  # fmt: skip
ANSWERS = [
    "red",
    "blue",
    "one",
    "two",
    "star",
    "Star ",
    "ring",
    "yes",
    "no",
    "t-shirt",
    "t - shirt",
    "caf\u00e9",
    "cafe",
]


def blip_questions(folder: Path) -> Path:
    entries = [
        {"image": name, "question_id": 10 + i, "question": text, "dataset": "vqa"}
        for i, (name, text, _, _) in enumerate(ASKED)
    ]
    return written(folder / "vqa_test.json", entries)


def annotations(folder: Path) -> Path:
    entries = [
        {
            "question_id": 10 + i,
            "image_id": i,
            "question_type": "what",
            "answer_type": kind,
            "answers": [{"answer": given, "answer_id": n} for n, given in enumerate(GIVEN[answer], 1)],
        }
        for i, (_, _, answer, kind) in enumerate(ASKED)
    ]
    return written(folder / "annotations.json", {"annotations": entries})


def evaluation(folder: Path, **given: Any) -> Vqa:
    asked = read_questions(blip_questions(folder), PICTURES)
    return Vqa(asked, "vqa_test.json", read_annotations(annotations(folder), asked.questions), **given)


@pytest.mark.parametrize("ranked", [False, True], ids=["generated", "ranked"])
def test_answers_have_the_official_accuracy_and_go_into_a_file(tmp_path: Path, ranked: bool) -> None:
    answers = read_answers(written(tmp_path / "answer_list.json", ANSWERS)) if ranked else None
    vqa = evaluation(tmp_path, answers=answers, results=tmp_path / "results.json")
    answerer = load(Answerer, EMBEDDED / "demo-vqa")
    encodings: list[int] = []
    answerer.network.vision_model.register_forward_hook(lambda _, inputs, __: encodings.append(len(inputs[0])))
    found, _ = measured(vqa, answerer, tmp_path / "state", limits={"max_captions": 4})
    results = json.loads((tmp_path / "results.json").read_text())
    by_number = {10 + i: answer for i, (_, _, answer, _) in enumerate(ASKED)}
    assert {each["question_id"]: each["answer"] for each in results} == by_number
    right = [100 * accuracy(answer, GIVEN[answer]) for _, _, answer, _ in ASKED]
    assert right == pytest.approx([100, 90, 60, 100, 30])
    wanted = {"accuracy": 76, "number": 90, "other": 80, "yes/no": 65}
    assert found.figures == pytest.approx(wanted)
    assert found.counts == {"pictures": 2, "questions": 5}
    assert sum(encodings) - 1 == 2  # each picture once, and one for the warm-up


def test_answers_are_generated_as_in_the_paper(tmp_path: Path) -> None:
    _, asked = measured(evaluation(tmp_path), FakeModel("answer"), tmp_path / "state")
    requests = [request for request in asked if isinstance(request, AnswerRequest)]
    assert len(requests) == len(ASKED)
    assert all(request.options == GENERATED["paper"] and request.protocol == "paper" for request in requests)
    assert (GENERATED["paper"].num_beams, GENERATED["paper"].max_tokens) == (3, 9)


def test_without_annotations_there_are_answers_and_no_accuracy(tmp_path: Path) -> None:
    vqa = Vqa(read_questions(blip_questions(tmp_path), PICTURES), "vqa_test.json", results=tmp_path / "results.json")
    found, _ = measured(vqa, FakeModel("answer"), tmp_path / "state")
    assert not found.figures
    assert len(json.loads((tmp_path / "results.json").read_text())) == len(ASKED)
    assert not vqa.published
    assert any("--annotations" in note for note in vqa.notes("paper"))


def test_vqas_own_questions_name_their_pictures_by_number(tmp_path: Path) -> None:
    file = written(
        tmp_path / "v2_questions.json",
        {"data_subtype": "val2014", "questions": [{"image_id": 42, "question_id": 42000, "question": "what is it?"}]},
    )
    (tmp_path / "COCO_val2014_000000000042.jpg").write_bytes((PICTURES / "red-circle.png").read_bytes())
    asked = read_questions(file, None)
    assert [entry.name for entry in asked.entries] == ["COCO_val2014_000000000042.jpg"]
    assert asked.questions == [42000]


def test_answers_that_a_model_reads_alike_are_listed_once(tmp_path: Path) -> None:
    found = read_answers(written(tmp_path / "answer_list.json", ANSWERS))
    assert found.alike == 3
    assert len(found.answers) == len(ANSWERS) - 3


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (["yes"], "it has 1 answers; give 2 to 10,000"),
        (["yes", " "], "its answer 2 is blank"),
        ({"yes": 1}, "it is not a list of answers"),
    ],
)
def test_a_list_of_answers_that_is_none_is_named(tmp_path: Path, answers: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_answers(written(tmp_path / "answer_list.json", answers))


def test_questions_without_answers_or_with_the_same_number_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it has no answers to 2 questions, such as 15"):
        read_annotations(annotations(tmp_path), [10, 15, 16])
    twice = [{"image": "red-circle.png", "question_id": 1, "question": text} for text in ("what?", "who?")]
    with pytest.raises(ConfigurationError, match="it has the question 1 twice"):
        read_questions(written(tmp_path / "twice.json", twice), PICTURES)
