"""The lines of long names."""

import pytest

from blip_serve.cli.tables import broken


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("a.png", 5, ["a.png"]),
        ("pictures/summer/a.png", 9, ["pictures/", "summer/", "a.png"]),
        ("pictures/summer/a.png", 16, ["pictures/summer/", "a.png"]),
        ("in/blue-square-green-star.png", 13, ["in/", "blue-square-", "green-star.", "png"]),
        ("x" * 7, 3, ["xxx", "xxx", "x"]),
        ("绘画/a", 4, ["绘画", "/a"]),
        ("", 3, [""]),
    ],
)
def test_a_name_is_broken_at_its_marks_and_inside_a_word_only_where_that_is_too_wide(
    text: str, width: int, lines: list[str]
) -> None:
    assert broken(text, width) == lines
