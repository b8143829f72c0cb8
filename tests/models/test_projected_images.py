"""Images whose captions fill many steps: projected how often, kept how long, and at the same scores."""

import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from blip_serve.domain import Done, MatchItem, Progress
from blip_serve.models.image_cache import ImageState
from blip_serve.models.match_works import MatchWork
from blip_serve.models.matcher import Matcher
from blip_serve.models.projected_images import MOST, ProjectedImages
from tests.support.checkpoints import SMALL, build
from tests.support.counting import counting
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import item, run

LAYERS = SMALL.text["num_hidden_layers"]


def states(count: int) -> list[ImageState]:
    """Of encoded images."""
    return [ImageState(str(number), torch.full((2, 3), float(number)), None) for number in range(count)]


class Counted:
    """Projections of nothing, counted."""

    def __init__(self) -> None:
        self.made: list[float] = []
        self.images = ProjectedImages(self._project)

    def _project(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        self.made.append(float(tokens[0, 0, 0]))
        return [tokens]

    def step(self, *images: ImageState, crowded: bool = True) -> int:
        """Runs one on some images, and says how many were kept for it."""
        seen = self.images.seen(images, images if crowded else ())
        self.images.keep(seen)
        return len(seen.kept)


def test_the_second_step_on_an_image_keeps_what_those_after_it_read() -> None:
    counted, [image, other] = Counted(), states(2)
    assert [counted.step(image) for _ in range(4)] == [0, 1, 1, 1]
    assert counted.step(image, other, crowded=False) == 1  # what is there is read for a short text, too
    assert counted.made == [0]


def test_an_image_of_short_texts_is_not_kept() -> None:
    counted, [image] = Counted(), states(1)
    assert [counted.step(image, crowded=False) for _ in range(3)] == [0, 0, 0]


def test_a_step_that_is_lost_leaves_nothing() -> None:
    counted, [image] = Counted(), states(1)
    for _ in range(2):
        counted.images.seen([image], [image])
    assert counted.step(image) == 0
    counted.images.seen([image], [image])
    assert [counted.step(image), counted.step(image)] == [1, 1]
    assert counted.made == [0, 0]  # of the lost step, and of that after it


def test_only_so_many_are_kept_and_only_while_they_are_used() -> None:
    counted, images = Counted(), states(MOST + 1)
    assert [counted.step(*images) for _ in range(3)] == [0, MOST, MOST]
    assert counted.made == list(range(MOST))
    last = images[-1]
    images.clear()
    gc.collect()
    assert [counted.step(last), counted.step(last)] == [1, 1]
    assert counted.made == list(range(MOST + 1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("checkpoint"))


def works_of(matcher: Matcher, *items: MatchItem) -> list[MatchWork]:
    """All works of items, ready to be scored."""
    works = [work for each in items for work in matcher.prepare(each).works if isinstance(work, MatchWork)]
    for work, outcome in zip(works, matcher.collect(matcher.launch(works)), strict=True):
        assert isinstance(outcome, Progress)
        work.phase = outcome.phase
    return works


def scored(matcher: Matcher, works: Sequence[MatchWork]) -> list[tuple[int, float | None]]:
    """The number in its item of each caption of one step's works, in order of the works, and its match score."""
    found: list[tuple[int, float | None]] = []
    for outcome in matcher.collect(matcher.launch(works)):
        assert isinstance(outcome, Done)
        assert isinstance(outcome.result, tuple)
        found += sorted((index, score.itm_score) for index, score in outcome.result)
    return found


def test_an_image_is_projected_twice_however_many_steps_its_captions_fill_on_a_cpu(checkpoint: Path) -> None:
    given = item(encoded(picture(1)), ["dog " * (1 + i % 30) + "and a cat" * (i % 2) for i in range(200)])
    [wanted] = run(load_matcher(checkpoint), given)
    matcher = load_matcher(checkpoint)
    with counting(matcher.network) as counted:
        works = works_of(matcher, given)
        found = [pair for work in works for pair in scored(matcher, [work])]
    assert len(works) > 5
    assert counted == {"vision_model": 1, "seen": 2 * LAYERS}
    assert [score for _, score in sorted(found)] == pytest.approx([score.itm_score for score in wanted], abs=1e-5)


def test_kept_images_share_a_step_with_others_of_many_and_of_few_words(checkpoint: Path) -> None:
    captions = [["a dog " * 15, "a cat " * 17], ["a dog"], ["a red " * 17, "a dog " * 16], ["a cat " * 18, "a red dog"]]
    given = [item(encoded(picture(seed)), own) for seed, own in enumerate(captions)]
    wanted = [score.itm_score for scores in run(load_matcher(checkpoint), *given) for score in scores]
    matcher = load_matcher(checkpoint)
    held = works_of(matcher, given[3], given[0])  # in another order than that of the step
    for _ in range(2):
        scored(matcher, held)
    others = works_of(matcher, given[1], given[2])
    with counting(matcher.network) as counted:
        found = scored(matcher, [held[1], *others, held[0]])
    assert counted == {"seen": LAYERS}
    assert [score for _, score in found] == pytest.approx(wanted, abs=1e-5)
