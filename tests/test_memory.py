"""Numbers of bytes, in words."""

import pytest

from blip_serve.memory import told


@pytest.mark.parametrize(
    ("size", "words"), [(1, "1 bytes"), (73_200_000, "73.2 MB"), (100_000, "0.1 MB"), (1_040_000_000, "1.04 GB")]
)
def test_no_number_of_bytes_is_told_as_nothing(size: int, words: str) -> None:
    assert told(size) == words
