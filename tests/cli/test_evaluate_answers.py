"""`blip-serve eval caption`, `vqa` and `t2i`: by a fake model, by those of the package, and what people are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from blip_serve.cli.evaluate_caption import caption
from blip_serve.cli.evaluate_options import EvaluateOptions
from blip_serve.cli.evaluate_t2i import t2i
from blip_serve.cli.evaluate_vqa import vqa
from blip_serve.errors import ConfigurationError
from tests.jobs.evaluation.measuring import PICTURES
from tests.jobs.evaluation.test_caption import coco
from tests.jobs.evaluation.test_t2i import question_files
from tests.jobs.evaluation.test_vqa import ANSWERS, annotations, blip_questions
from tests.support.command import blip_serve
from tests.support.fake_bulk import Fate, fake_bulk


def evaluated(tmp_path: Path, *arguments: object) -> tuple[str, dict[str, Any]]:
    """The table, and the JSON."""
    done = blip_serve(
        "eval", *map(str, arguments), "--images", str(PICTURES), "--report", str(tmp_path / "found.json"),
        BLIP_SERVE_DATA_DIR=str(tmp_path / "data"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((tmp_path / "found.json").read_text())


@pytest.mark.parametrize("name", ["vqa", "t2i"])
def test_results_are_written_and_nothing_is_asked_twice(tmp_path: Path, name: str) -> None:
    data = question_files(tmp_path / "made") if name == "t2i" else blip_questions(tmp_path)
    settings = {"data_dir": str(tmp_path / "data"), "device": "cpu", "dtype": "float32"}
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    results = tmp_path / "results.json"
    more = ("--images", PICTURES, "--results", results, "--config", tmp_path / "config.yaml")
    ended, again = (fake_bulk(["eval", name, *map(str, (data, *more))], Fate(tells=True)) for _ in range(2))
    assert (ended.code, again.code) == (0, 0), ended.said
    assert (ended.asked, again.asked) == ((6 if name == "t2i" else 5), 0)
    assert all(entry.keys() == {"question_id", "answer"} for entry in json.loads(results.read_text()))


@pytest.mark.full
def test_t2i_shows_the_score_and_writes_it_as_t2i_compbench_does(tmp_path: Path) -> None:
    table, found = evaluated(tmp_path, "t2i", question_files(tmp_path / "made"), "--results", tmp_path / "result.json")
    assert "t2i on made" in table
    assert f"{found['figures']['BLIP-VQA']:.1f}" in table
    results = json.loads((tmp_path / "result.json").read_text())
    assert [entry.keys() for entry in results] == [{"question_id", "answer"}] * 6
    [kept] = (tmp_path / "data" / "findings").rglob("*.json")
    assert json.loads(kept.read_text())["figures"]["BLIP-VQA"] == round(found["figures"]["BLIP-VQA"], 2)


@pytest.mark.full
def test_vqa_shows_the_accuracy_beside_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    ranked = ("--by", "rank", "--answers", tmp_path / "answers.json")
    table, found = evaluated(tmp_path, "vqa", blip_questions(tmp_path), "--annotations", annotations(tmp_path), *ranked)
    assert found["figures"]["accuracy"] == pytest.approx(76)
    assert "LAVIS docs/benchmark.rst, test-dev" in table
    assert "78.2" in table
    assert "Answers of the list that a model reads like one before, left out: 3." in table


@pytest.mark.full
def test_caption_shows_what_java_would_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    table, found = evaluated(tmp_path, "caption", coco(tmp_path), "--results", tmp_path / "captions.json")
    assert list(found["figures"]) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert "METEOR needs Java: not measured." in table
    assert [entry["image_id"] for entry in json.loads((tmp_path / "captions.json").read_text())] == [*range(100, 106)]


def test_options_of_vqa_that_do_not_fit_are_named(tmp_path: Path) -> None:
    options = EvaluateOptions(data=str(blip_questions(tmp_path)), images=PICTURES)
    with pytest.raises(ConfigurationError, match="--by rank chooses among the answers of --answers FILE"):
        vqa(options, by="rank", results=tmp_path / "out.json")
    with pytest.raises(ConfigurationError, match="Give --annotations for the accuracy, or --results"):
        vqa(options)
    with pytest.raises(ConfigurationError, match="--chart draws the accuracy"):
        vqa(EvaluateOptions(data=options.data, images=PICTURES, chart=Path("x.png")), results=tmp_path / "out.json")


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = EvaluateOptions(data=str(tmp_path / "missing.json"))
    for make in (caption, t2i, lambda given: vqa(given, results=tmp_path / "out.json")):
        with pytest.raises(ConfigurationError, match=r"missing\.json: No such file"):
            make(options)
