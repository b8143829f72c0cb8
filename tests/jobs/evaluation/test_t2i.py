"""T2I-CompBench's BLIP-VQA, against a reference that transformers computes, and its files."""

import json
from math import prod
from pathlib import Path
from statistics import fmean

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.t2i import T2i
from blip_serve.jobs.evaluation.t2i_files import read_questions
from blip_serve.models.answerer import Answerer
from blip_serve.models.fake import FakeModel
from tests.jobs.evaluation.measuring import PICTURES, SHOWN, measured, written
from tests.support.loading import load
from tests.support.reference import AnswerReference

PHRASES = 8
"""As T2I-CompBench asks for by default."""
FORMS = (
    "{}?",
    "is there {}?",
    "Is there {}?!",
    "is there ({})?",
    "IS THERE {}?",
    "is there {}",
    "{} ?",
    "is there: {}?",
)


def phrases(name: str) -> list[str]:
    """Questions about a picture: what it shows, in several spellings; of one picture also what it does not show."""
    shown = SHOWN[name]["caption"].split(" and ")
    asked = [form.format(phrase) for form in FORMS for phrase in shown]
    wrong = [f"{SHOWN[name]['wrong']}?"] if name == "red-circle.png" else []
    return [*wrong, *asked][: PHRASES - len(name) % 2]


def question_files(folder: Path, empty: bool = False) -> Path:
    """Files as T2I-CompBench makes them, of the pictures in the package; `empty`: and one picture with no question."""
    names = [*SHOWN, *(["nothing_000006.png"] if empty else [])]
    for i in range(PHRASES):
        of = {name: phrases(name) if name in SHOWN else [] for name in names}
        entries = [
            {"image": f"../examples//samples/{name}", "question_id": number, "dataset": "color",
             "question": of[name][i] if i < len(of[name]) else ""}
            for number, name in enumerate(names)
        ]  # fmt: skip
        written(folder / f"annotation{i + 1}_blip" / "vqa_test.json", entries)
    return folder


def test_the_score_is_that_of_transformers_and_a_picture_is_encoded_once(tmp_path: Path) -> None:
    answerer = load(Answerer, EMBEDDED / "demo-vqa", images={"cache_tokens_bytes": 0, "cache_vectors_bytes": 0})
    encodings: list[int] = []
    answerer.network.vision_model.register_forward_hook(lambda _, inputs, __: encodings.append(len(inputs[0])))
    questions = read_questions(question_files(tmp_path / "out"), PICTURES)
    result = tmp_path / "vqa_result.json"
    found, _ = measured(T2i(questions, "out", result), answerer, tmp_path / "state")
    reference = AnswerReference(EMBEDDED / "demo-vqa")
    wanted = [
        [reference.yes((PICTURES / name).read_bytes(), phrase, "paper") for phrase in phrases(name)] for name in SHOWN
    ]
    assert found.details["score"] == pytest.approx(fmean(map(prod, wanted)), abs=1e-5)
    assert [picture["yes"] for picture in found.details["pictures"]] == [pytest.approx(of, abs=1e-5) for of in wanted]
    assert 0.5 < found.details["score"] < 0.9  # or a product of zeros would be right
    assert found.figures["BLIP-VQA"] == pytest.approx(100 * found.details["score"])
    assert found.counts == {"pictures": len(SHOWN), "questions": sum(map(len, wanted))}
    assert sum(encodings) - 1 == len(SHOWN)  # and one for the warm-up
    official = [prod(float(f"{each:.4f}") for each in of) for of in wanted]
    results = json.loads(result.read_text())
    assert [entry["question_id"] for entry in results] == list(range(len(SHOWN)))
    assert [float(entry["answer"]) for entry in results] == pytest.approx(official, abs=3e-4)  # rounded on both sides
    assert all(len(entry["answer"]) == len("0.1234") for entry in results)


def test_a_picture_without_noun_phrases_scores_1_and_is_not_asked_for(tmp_path: Path) -> None:
    questions = read_questions(question_files(tmp_path / "out", empty=True), PICTURES)
    found, asked = measured(T2i(questions, "out"), FakeModel("answer"), tmp_path / "state")
    assert found.details["pictures"][-1] == {"question_id": 6, "score": 1, "yes": []}
    assert len(asked) == len(SHOWN)


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    t2i = T2i(read_questions(question_files(tmp_path / "out"), PICTURES), "out")
    first, _ = measured(t2i, FakeModel("answer"), tmp_path / "state")
    again, asked = measured(t2i, FakeModel("answer"), tmp_path / "state")
    assert asked == []
    assert again == first


def test_one_file_and_the_folder_samples_do_too(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "a red bus_000000.png").write_bytes((PICTURES / "red-circle.png").read_bytes())
    entry = {"image": "samples/a red bus_000000.png", "question_id": 0, "question": "a red bus?"}
    questions = read_questions(written(tmp_path / "vqa_test.json", [entry]), None)
    assert [each.texts for each in questions.asked.entries] == [("a red bus?",)]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ([{"image": "b.png", "question_id": 0, "question": ""}], "picture 0 was 'a.png' before"),
        ([{"image": "a.png", "question_id": 0, "question": ""}] * 2, "it has the picture 0 twice"),
        ([{"image": "a.png", "question": "a dog?"}], "0.question_id: Field required"),
        ([{"image": "a.png", "question_id": 0, "question": "a dog?"}], "there is no file of a.png"),
        ([{"image": "..", "question_id": 0, "question": "a dog?"}], "is no picture's path below"),
    ],
)
def test_question_files_that_do_not_fit_are_named(tmp_path: Path, second: object, said: str) -> None:
    first = [{"image": "a.png", "question_id": 0, "question": "a cat?"}]
    if said.startswith("is no"):
        first = []
    written(tmp_path / "annotation1_blip" / "vqa_test.json", first)
    written(tmp_path / "annotation2_blip" / "vqa_test.json", second)
    with pytest.raises(ConfigurationError, match=said):
        read_questions(tmp_path, None)


def test_a_folder_without_questions_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"it has 0 folders annotation\*_blip"):
        read_questions(tmp_path, None)
