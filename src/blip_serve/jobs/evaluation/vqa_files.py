"""Reads VQA's files: questions about COCO's pictures, what people answered, and BLIP's list of answers."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.asked import Asked, asked
from blip_serve.jobs.evaluation.gallery import Entry
from blip_serve.jobs.evaluation.json_files import read_json
from blip_serve.jobs.evaluation.karpathy import picture_below
from blip_serve.jobs.sources.files import real

MIN_ANSWERS, MAX_ANSWERS = 2, 10_000
"""Of a list to choose from. BLIP's has 3,128."""


class BlipQuestion(BaseModel):
    """A question in BLIP's files, such as `vqa_test.json`: a list of these."""

    question_id: int
    question: str
    image: str = Field(min_length=1)


class CocoQuestion(BaseModel):
    """A question in VQA's own files."""

    question_id: int
    question: str
    image_id: int


class CocoQuestions(BaseModel):
    """VQA's own files, such as `v2_OpenEnded_mscoco_val2014_questions.json`. `data_subtype`: such as `val2014`."""

    data_subtype: str
    questions: list[CocoQuestion]


def _answer(given: Any) -> Any:
    return given.get("answer") if isinstance(given, dict) else given


class Annotation(BaseModel):
    """What people answered to a question, and of which kind the question is."""

    question_id: int
    question_type: str = "unknown"
    answer_type: str = "unknown"
    answers: list[Annotated[str, BeforeValidator(_answer)]] = Field(min_length=1)


class _Annotations(BaseModel):
    annotations: list[Annotation]


Questions: TypeAlias = CocoQuestions | list[BlipQuestion]
_QUESTIONS: TypeAdapter[Questions] = TypeAdapter(Questions)
_ANNOTATIONS = TypeAdapter(_Annotations)
_ANSWERS: TypeAdapter[list[str]] = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class AnswerList:
    """Answers to choose from. `alike`: how many were left out, since a model reads them like one before."""

    answers: tuple[str, ...]
    alike: int


def read_questions(file: Path, root: Path | None) -> Asked:
    """The questions of a file by their pictures, these in the order of their first question.

    `root`: the folder that the pictures are below; else the file's. Raises `ConfigurationError`, also for pictures that
    are not there.
    """
    read = read_json(file, _QUESTIONS, "VQA's `questions` or a list of `image`, `question` and `question_id`")
    folder = real(str(root or file.parent))
    found: dict[str, list[tuple[int, str]]] = {}
    if isinstance(read, CocoQuestions):
        for each in read.questions:
            name = f"COCO_{read.data_subtype}_{each.image_id:012d}.jpg"
            found.setdefault(name, []).append((each.question_id, each.question))
    else:
        for one in read:
            found.setdefault(one.image, []).append((one.question_id, one.question))
    entries = [
        (Entry(name, picture_below(name, folder, file), tuple(text for _, text in of)), [number for number, _ in of])
        for name, of in found.items()
    ]
    return asked(entries, str(file))


def read_annotations(file: Path, questions: Sequence[int]) -> Mapping[int, Annotation]:
    """What people answered, by question. Raises `ConfigurationError` if some of `questions` are missing."""
    read = read_json(file, _ANNOTATIONS, "VQA's `annotations`")
    found = {each.question_id: each for each in read.annotations}
    if missing := [number for number in questions if number not in found]:
        raise ConfigurationError(f"{file}: it has no answers to {len(missing):,} questions, such as {missing[0]}")
    return found


def read_answers(file: Path) -> AnswerList:
    """The answers to choose from: a list of strings, such as BLIP's `answer_list.json`.

    Raises `ConfigurationError`, also for one that is blank.
    """
    read = read_json(file, _ANSWERS, "a list of answers")
    if not MIN_ANSWERS <= len(read) <= MAX_ANSWERS:
        raise ConfigurationError(f"{file}: it has {len(read):,} answers; give {MIN_ANSWERS} to {MAX_ANSWERS:,}")
    if blank := [number for number, answer in enumerate(read, 1) if not answer.strip()]:
        raise ConfigurationError(f"{file}: its answer {blank[0]} is blank")
    distinct: dict[tuple[str, ...], str] = {}
    for answer in read:
        distinct.setdefault(_as_read(answer), answer)
    return AnswerList(tuple(distinct.values()), len(read) - len(distinct))


def _as_read(answer: str) -> tuple[str, ...]:
    """The pieces that BERT's uncased tokenizer cuts an answer into before it looks words up."""
    plain = "".join(each for each in unicodedata.normalize("NFD", answer.lower()) if unicodedata.category(each) != "Mn")
    return tuple(re.findall(r"[^\W_]+|[^\w\s]|_", plain))
