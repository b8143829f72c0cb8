"""Reads T2I-CompBench's question files: one for each noun phrase of the prompts, of all pictures."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.gallery import Entry, Gallery, gallery
from blip_serve.jobs.evaluation.json_files import read_json
from blip_serve.jobs.evaluation.karpathy import picture_below
from blip_serve.jobs.sources.files import real

FILE = "vqa_test.json"
FOLDER = re.compile(r"annotation(\d+)_blip")
SAMPLES = "samples"
"""The folder of the pictures there, beside those of the questions."""
MAX_FILES = 64
"""Noun phrases of a prompt. T2I-CompBench asks for 8."""


class T2iQuestion(BaseModel):
    """A question about a picture. It is empty if the picture's prompt has fewer noun phrases."""

    image: str = Field(min_length=1)
    question_id: int
    question: str


_QUESTIONS: TypeAdapter[list[T2iQuestion]] = TypeAdapter(list[T2iQuestion])


@dataclass(frozen=True, slots=True)
class T2iQuestions:
    """What is asked. `asked`: the pictures with questions, which are their texts.

    `numbers`: those of all pictures, in the order of their numbers, each with its place in `asked`; `None` for one
    without questions.
    """

    asked: Gallery
    numbers: dict[int, int | None]


def read_questions(data: Path, root: Path | None) -> T2iQuestions:
    """The questions of a file, or of all `annotation*_blip` in a folder, by picture.

    Pictures are known by their number, and must have the same name in all files. Of the name only the last part
    counts. `root`: the folder of the pictures; by default `samples` beside the questions, if there is one, else the
    folder of `data`. Raises `ConfigurationError`.
    """
    names: dict[int, str] = {}
    questions: dict[int, list[str]] = {}
    for file in _files(data):
        met: set[int] = set()
        for each in read_json(file, _QUESTIONS, "a list of `image`, `question_id` and `question`"):
            name = each.image.rpartition("/")[2]
            if each.question_id in met:
                raise ConfigurationError(f"{file}: it has the picture {each.question_id} twice")
            met.add(each.question_id)
            if names.setdefault(each.question_id, name) != name:
                raise ConfigurationError(f"{file}: picture {each.question_id} was {names[each.question_id]!r} before")
            questions.setdefault(each.question_id, []).extend([each.question] if each.question else [])
    folder = real(str(root or _samples(data if data.is_dir() else data.parent)))
    entries: list[Entry] = []
    numbers: dict[int, int | None] = {}
    for number, name in sorted(names.items()):
        numbers[number] = len(entries) if questions[number] else None
        if questions[number]:
            entries.append(Entry(name, picture_below(name, folder, data), tuple(questions[number])))
    return T2iQuestions(gallery(entries, str(data)), numbers)


def _files(data: Path) -> Iterator[Path]:
    """The files of questions, by the number in their folders' names."""
    if not data.is_dir():
        yield data
        return
    found = {int(match[1]): folder / FILE for folder in data.iterdir() if (match := FOLDER.fullmatch(folder.name))}
    if not 1 <= len(found) <= MAX_FILES:
        raise ConfigurationError(f"{data}: it has {len(found)} folders annotation*_blip; give 1 to {MAX_FILES}")
    yield from (found[number] for number in sorted(found))


def _samples(folder: Path) -> Path:
    return folder / SAMPLES if (folder / SAMPLES).is_dir() else folder
