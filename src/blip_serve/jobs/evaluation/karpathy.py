"""Reads pictures' captions: Karpathy's split of COCO and Flickr30k, in its two shapes, and COCO's own shape."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, Field, TypeAdapter

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.coco import CocoCaptions
from blip_serve.jobs.evaluation.gallery import Entry
from blip_serve.jobs.evaluation.json_files import read_json
from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sources.files import real
from blip_serve.jobs.sources.references import picture_of


class Captioned(BaseModel):
    """A picture in BLIP's files, such as `coco_karpathy_test.json`: a list of these."""

    image: str = Field(min_length=1)
    caption: list[str]


class Sentence(BaseModel):
    """A caption in Karpathy's files."""

    raw: str


class SplitImage(BaseModel):
    """A picture in Karpathy's files. `filepath`: its folder, which those of Flickr30k do not have."""

    filename: str = Field(min_length=1)
    filepath: str = ""
    split: str
    sentences: list[Sentence]


class Split(BaseModel):
    """Karpathy's own files, such as `dataset_coco.json`, which hold all splits."""

    images: list[SplitImage]


Annotations: TypeAlias = list[Captioned] | Split | CocoCaptions
_READ: TypeAdapter[Annotations] = TypeAdapter(Annotations)
_SHAPES = "a list of `image` and `caption`, Karpathy's `images`, or COCO's `images` and `annotations`"


def read_entries(file: Path, root: Path | None, split: str) -> list[Entry]:
    """The pictures and captions of a file, in its order. `root`: the folder that pictures are below; else the file's.

    `split`: which part of a file that holds several, such as `test`. Raises `ConfigurationError` for a file that
    cannot be read, is of another shape, or has no such split, and for a picture that is not below `root`.
    """
    folder = real(str(root or file.parent))
    captioned = _captioned(read_json(file, _READ, _SHAPES), split)
    found = [Entry(name, picture_below(name, folder, file), tuple(texts), number) for name, texts, number in captioned]
    if not found:
        raise ConfigurationError(f"{file}: it has no pictures of the split '{split}'; --split names another")
    return found


def _captioned(annotations: Annotations, split: str) -> Iterator[tuple[str, Sequence[str], int | None]]:
    """Each picture's path below the folder of pictures, its captions, and its number in COCO."""
    match annotations:
        case Split():
            for image in annotations.images:
                if image.split == split:
                    name = f"{image.filepath}/{image.filename}" if image.filepath else image.filename
                    yield name, [sentence.raw for sentence in image.sentences], None
        case CocoCaptions():
            for each, captions in annotations.captioned():
                yield each.name, captions, each.id
        case _:
            for one in annotations:
                yield one.image, one.caption, None


def picture_below(name: str, folder: str, file: Path) -> FilePicture:
    """The picture of that name below a folder. Raises `ConfigurationError` naming `file`, which named it."""
    picture = picture_of(name, folder, 0, "image")
    if not isinstance(picture, FilePicture):
        raise ConfigurationError(f"{file}: {name[:200]!r} is no picture's path below {folder}")
    return picture
