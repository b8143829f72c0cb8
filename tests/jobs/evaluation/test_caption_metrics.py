"""The figures of captions, against those that COCO's own code gave (`coco_captions.json` says how)."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation import caption_metrics
from blip_serve.jobs.evaluation.caption_metrics import CaptionScorer, _meteor, caption_scorer
from blip_serve.jobs.evaluation.caption_tokens import JavaFailed, by_stanford, without_java

OFFICIAL: dict[str, Any] = json.loads(Path(__file__).with_name("coco_captions.json").read_text(encoding="utf-8"))
OF_JAVA = {"METEOR"}
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")


def scorer(java: str | None) -> CaptionScorer:
    return CaptionScorer(java, caption_scorer().jar)


def test_without_java_the_figures_of_plain_captions_are_the_official_ones() -> None:
    found = scorer(None).figures(OFFICIAL["references"], OFFICIAL["captions"])
    official = {name: figure for name, figure in OFFICIAL["figures"].items() if name not in OF_JAVA}
    assert found == pytest.approx(official, abs=1e-9)


@needs_java
@pytest.mark.full
def test_with_java_all_figures_are_the_official_ones() -> None:
    found = scorer(shutil.which("java")).figures(OFFICIAL["references"], OFFICIAL["captions"])
    assert found == pytest.approx(OFFICIAL["figures"], abs=1e-9)


def test_without_java_plain_captions_are_cut_into_the_official_words() -> None:
    plain = OFFICIAL["plain"]
    assert without_java(list(plain)) == list(plain.values())


def test_without_java_odd_captions_come_near() -> None:
    odd = OFFICIAL["odd"]
    differ = [words != own for words, own in zip(odd.values(), without_java(list(odd)), strict=True)]
    assert sum(differ) == 6  # of 39, which were chosen to be hard: what the docstring says


@needs_java
@pytest.mark.full
def test_stanfords_tokenizer_gives_the_official_words() -> None:
    captions = {**OFFICIAL["plain"], **OFFICIAL["odd"]}
    found = by_stanford(list(captions), shutil.which("java") or "", caption_scorer().jar)
    assert found == list(captions.values())


@needs_java
def test_a_java_program_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(JavaFailed, match="Stanford's tokenizer failed: "):
        by_stanford(["a dog"], shutil.which("java") or "", tmp_path / "no.jar")


def test_a_caption_without_words_is_wrong_and_no_error() -> None:
    captions = {**OFFICIAL["captions"], "3": "..."}
    found = scorer(None).figures(OFFICIAL["references"], captions)
    assert found["CIDEr"] < OFFICIAL["figures"]["CIDEr"]


def test_what_needs_java_says_so() -> None:
    assert caption_scorer(lambda name: None).java is None
    assert any("METEOR needs Java: not measured" in note for note in scorer(None).notes())
    assert "Stanford" in " ".join(scorer("/usr/bin/java").notes())


def test_the_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_metrics, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigurationError, match=r"pip install 'blip-serve\[eval\]'"):
        caption_scorer()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for Java is a shell script")
def test_meteor_that_fails_is_an_error_and_leaves_nothing_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nread line\necho no number\necho no number\nexec sleep 60\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ending = threading.Thread(target=_fail_in_meteor, daemon=True)  # the scorer's end would wait for its own lock
    ending.start()
    ending.join(20)
    assert not ending.is_alive()


def _fail_in_meteor() -> None:
    with pytest.raises(OSError, match="METEOR's Java program failed"):
        _meteor({"1": ["a dog"]}, {"1": ["a dog"]})
