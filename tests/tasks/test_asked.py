"""Remembered callers: a caller sees cached tokens of its own requests only, and the memory is bounded."""

from blip_serve.tasks.asked import Asked


def test_a_caller_is_told_of_what_it_asked_itself_since_it_was_encoded() -> None:
    asked = Asked()
    assert not asked.again("a", "m", "x", known=False)
    assert asked.again("a", "m", "x", known=True)
    assert not asked.again("b", "m", "x", known=True)
    assert asked.again("b", "m", "x", known=True)
    assert not asked.again("b", "m", "x", known=False)
    assert not asked.again("a", "m", "x", known=True)


def test_another_model_or_image_is_another_matter() -> None:
    asked = Asked()
    asked.again("a", "m", "x", known=False)
    assert not asked.again("a", "n", "x", known=True)
    assert not asked.again("a", "m", "y", known=True)


def test_the_image_asked_about_longest_ago_is_forgotten_first() -> None:
    asked = Asked(most=3)
    for image in "xyz":
        asked.again("a", "m", image, known=False)
    asked.again("a", "m", "x", known=True)
    asked.again("b", "m", "x", known=True)  # a fourth caller of an image: y goes
    assert [asked.again("a", "m", image, known=True) for image in "xz"] == [True, True]
    assert not asked.again("a", "m", "y", known=True)


def test_many_callers_of_one_image_are_bounded_too() -> None:
    asked = Asked(most=10)
    for number in range(100):
        asked.again(str(number), "m", "x", known=True)
    assert len([number for number in range(100) if asked.again(str(number), "m", "x", known=True)]) <= 10
