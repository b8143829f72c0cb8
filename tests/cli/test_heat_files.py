"""The files of `blip-serve explain --out`: what they are called, where they are, and that none is lost."""

import errno
import io
from pathlib import Path

import pytest
from PIL import Image

from blip_serve.cli.heat_files import SIDE, HeatFiles
from blip_serve.domain import WordMap
from blip_serve.images.decode import Decoder
from blip_serve.settings import ImageSettings
from tests.images.samples import file_bytes, gradient

PNG = file_bytes(gradient(), "PNG")


def word(text: str) -> WordMap:
    return WordMap(text, 0, len(text), ((0.0, 1.0), (0.0, 0.0)), 0.5)


def written(folder: Path, image: str, *words: str, data: bytes = PNG) -> list[str]:
    """The names of the files that one run writes."""
    files = HeatFiles(folder, Decoder(ImageSettings())).of(image, data).write(1, [word(each) for each in words])
    assert all(file.parent == folder and file.is_file() for file in files)
    return [file.name for file in files]


def test_a_file_is_named_after_the_picture_the_caption_and_the_word(tmp_path: Path) -> None:
    assert written(tmp_path, "holiday/red-circle.v2.png", "red", "circle") == [
        "red-circle_v2-1-1-red.png",
        "red-circle_v2-1-2-circle.png",
    ]


@pytest.mark.parametrize(
    ("image", "text", "name"),
    [
        ("/etc/..", "../../etc/passwd", "picture-1-1-etc_passwd.png"),
        ("a/\x00\n\\..\\b.png", "C:\\x\x00", "b-1-1-C_x.png"),
        ("Bär 絵.jpg", "Bär's", "Bär_絵-1-1-Bär_s.png"),
        (".png", "!?", "png-1-1-word.png"),
        ("https://example.org/a/photo.jpg?size=2#x", "a-1-1-b", "photo-1-1-a_1_1_b.png"),
        ("data:image/png;base64,AAAA/BBBB", "red", "picture-1-1-red.png"),
        ("絵" * 99, "語" * 99, f"{'絵' * 40}-1-1-{'語' * 16}.png"),
    ],
)
def test_no_name_leaves_the_folder_or_is_too_long(tmp_path: Path, image: str, text: str, name: str) -> None:
    assert written(tmp_path / "out", image, text) == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_pictures_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    files = HeatFiles(tmp_path, Decoder(ImageSettings()))
    names = [files.of(image, PNG).write(1, [word("red")])[0].name for image in ("a/x.png", "b/X.jpg", "x_2.png")]
    assert names == ["x-1-1-red.png", "X_2-1-1-red.png", "x_2_2-1-1-red.png"]


def test_a_run_replaces_no_file_of_a_run_before(tmp_path: Path) -> None:
    first = written(tmp_path, "x.png", "red")
    before = (tmp_path / first[0]).read_bytes()
    assert written(tmp_path, "x.png", "red", data=file_bytes(Image.new("RGB", (9, 9)), "PNG")) == ["x_2-1-1-red.png"]
    assert (tmp_path / first[0]).read_bytes() == before
    assert written(tmp_path, "x_2.gif", "red") == ["x_2_2-1-1-red.png"]


def test_a_link_under_a_files_name_is_not_followed(tmp_path: Path) -> None:
    files = HeatFiles(tmp_path, Decoder(ImageSettings())).of("x.png", PNG)
    (tmp_path / "x-1-1-red.png").symlink_to(tmp_path.parent / "outside.png")
    with pytest.raises(FileExistsError):
        files.write(1, [word("red")])
    assert not (tmp_path.parent / "outside.png").exists()


def test_a_picture_is_upright_and_no_larger_than_asked(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    data = file_bytes(Image.new("RGB", (2000, 500), "red"), "JPEG", exif=exif)
    [name] = written(tmp_path, "x.jpg", "red", data=data)
    with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as picture:
        assert picture.size == (SIDE // 4, SIDE)


def test_a_full_disk_leaves_no_half_of_a_file_and_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # a write names no file

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        written(tmp_path, "a.png", "red")
    assert raised.value.filename == str(tmp_path / "a-1-1-red.png")
    assert not list(tmp_path.iterdir())
