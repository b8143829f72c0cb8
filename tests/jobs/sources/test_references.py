"""What a column says of a picture."""

from pathlib import Path

import pytest

from blip_serve.images.reference import BytesImage, UnreadableImage, UrlImage
from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sources.references import picture_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a picture, a link to it, and a link out of it."""
    found = tmp_path / "root"
    (found / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"x")
    (found / "a.png").write_bytes(b"x")
    (found / "link.png").symlink_to(found / "a.png")
    (found / "out.png").symlink_to(tmp_path / "secret.png")
    (found / "up").symlink_to(tmp_path)
    return found


@pytest.mark.parametrize("path", ["a.png", "./a.png", "sub/../a.png", "link.png", "sub/../sub/../link.png"])
def test_a_path_under_the_root_is_its_file(root: Path, path: str) -> None:
    assert picture_of(path, str(root), 100, "image") == FilePicture(str(root / "a.png"))


def test_an_absolute_path_under_the_root_is_its_file(root: Path) -> None:
    assert picture_of(str(root / "a.png"), str(root), 100, "image") == FilePicture(str(root / "a.png"))
    assert picture_of("x y?#%.png", str(root), 100, "image") == FilePicture(str(root / "x y?#%.png"))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("/etc/passwd", "path_not_allowed"),
        ("../secret.png", "path_not_allowed"),
        ("sub/../../secret.png", "path_not_allowed"),
        ("out.png", "path_not_allowed"),
        ("up/secret.png", "path_not_allowed"),
        (".", "path_not_allowed"),
        ("../root2/a.png", "path_not_allowed"),
        ("a\0.png", "invalid_path"),
        ("s3://bucket/a.png", "unsupported_url_scheme"),
        ("file:///etc/passwd", "unsupported_url_scheme"),
        (" FTP://example.com/a.png", "unsupported_url_scheme"),
        ("memory://a.png", "unsupported_url_scheme"),
        ("filecache::s3://bucket/a.png", "unsupported_url_scheme"),
        ("simplecache::http://169.254.169.254/", "unsupported_url_scheme"),
        ("http://user@example.com/", "invalid_url"),
        ("http://0x7f.1/", "blocked_url"),
        ("data:text/html,x", "unsupported_url_scheme"),
        ("data:image/png;base64,%%%", "invalid_base64"),
        ("data:image/png;base64," + "A" * 400, "image_too_large"),
        ("", "empty_image"),
        (b"", "empty_image"),
        (7, "invalid_type"),
        (["a.png"], "invalid_type"),
        ({"bytes": "x"}, "path"),
    ],
)
def test_anything_else_is_an_error_of_the_row(root: Path, value: object, code: str) -> None:
    found = picture_of(value, str(root), 100, "image")
    if code == "path":
        assert found == FilePicture(str(root / "x"))
    else:
        assert isinstance(found, UnreadableImage)
        assert (found.error.code, found.error.param) == (code, "image")


def test_bytes_urls_and_data_uris_are_pictures(root: Path) -> None:
    assert picture_of(b"x", str(root), 100, "image") == BytesImage(b"x", "image")
    assert picture_of({"bytes": b"x", "path": "y"}, str(root), 100, "image") == BytesImage(b"x", "image")
    assert picture_of({"bytes": None, "path": "a.png"}, str(root), 100, "image") == FilePicture(str(root / "a.png"))
    assert picture_of("https://example.com/a", str(root), 100, "u") == UrlImage("https://example.com/a", "u")
    assert picture_of("data:image/png;base64,eA==", str(root), 100, "image") == BytesImage(b"x", "image")
    assert picture_of(None, str(root), 100, "image") is None


def test_under_a_root_at_a_url_paths_stay_too() -> None:
    assert picture_of("a/../b.png", "s3://bucket/data", 100, "image") == FilePicture("s3://bucket/data/b.png")
    for path in ("../b.png", "a/../../b.png", "/b.png", "a::b", "a\\b"):
        assert isinstance(picture_of(path, "s3://bucket/data", 100, "image"), UnreadableImage)
