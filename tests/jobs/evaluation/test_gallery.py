"""The gallery is checked whole before anything is asked, and told from another by its digest."""

from pathlib import Path

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.gallery import Entry, Gallery, gallery
from blip_serve.jobs.rows import FilePicture


def entries(folder: Path, *texts: tuple[str, ...], exist: bool = True) -> list[Entry]:
    found = []
    for number, own in enumerate(texts):
        file = folder / f"{number}.png"
        if exist:
            file.write_bytes(b"x" * 10)
        found.append(Entry(file.name, FilePicture(str(file)), own))
    return found


def test_texts_belong_to_pictures_in_order(tmp_path: Path) -> None:
    found = gallery(entries(tmp_path, ("a", "b"), ("c",), ("d", "e")), "data")
    assert found.texts == ["a", "b", "c", "d", "e"]
    assert found.owners == [0, 0, 1, 2, 2]
    assert found.texts_of == [range(2), range(2, 3), range(3, 5)]


def test_pictures_that_are_not_there_are_named_up_to_a_bound(tmp_path: Path) -> None:
    missing = entries(tmp_path, *[("a",)] * 12, exist=False)
    with pytest.raises(ConfigurationError, match=r"data: there is no file of 0.png, .*, 4.png and 7 more; --images"):
        gallery(missing, "data")
    with pytest.raises(ConfigurationError, match=r"no file of 0.png, 1.png; --images"):
        gallery(missing[:2], "data")


@pytest.mark.parametrize("own", [(), ("a", " ")])
def test_a_picture_without_a_true_text_is_named(tmp_path: Path, own: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"data: no text, or a blank one, of 1.png"):
        gallery(entries(tmp_path, ("a",), own), "data")


def test_an_empty_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="data: it has no pictures"):
        gallery([], "data")


def test_its_size_is_bounded(tmp_path: Path) -> None:
    [entry] = entries(tmp_path, ("a",) * 1000)
    with pytest.raises(ConfigurationError, match="more than 100,000 pictures or 500,000 texts"):
        gallery((entry for _ in range(501)), "data")


def test_another_text_another_order_or_another_file_makes_another_digest(tmp_path: Path) -> None:
    def digest(found: list[Entry]) -> str:
        made: Gallery = gallery(found, "data")
        return made.digest

    first = entries(tmp_path, ("a", "b"), ("c",))
    seen = [digest(first), digest(first[::-1]), digest([first[0], Entry("1.png", first[1].picture, ("d",))])]
    assert digest(list(first)) == seen[0]
    (tmp_path / "1.png").write_bytes(b"longer than before")
    assert len({*seen, digest(first)}) == 4
