"""The matcher's economy: what is computed how often, cut how, and shared by whom."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from blip_serve.catalogue import Shape
from blip_serve.domain import IMAGE_COST, Done, Failed, MatchItem, Outcome, Progress
from blip_serve.errors import InternalError, InvalidInput, OutOfMemory
from blip_serve.models.config import Config, TextConfig, VisionConfig, costs
from blip_serve.models.match_works import MatchWork
from blip_serve.models.matcher import Matcher
from tests.support.checkpoints import BASE, LARGE, SMALL, Size, build
from tests.support.counting import counting
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import item, run, run_prepared


def works_of(matcher: Matcher, *items: MatchItem) -> list[MatchWork]:
    """The works the items are cut into."""
    return [work for each in items for work in matcher.prepare(each).works if isinstance(work, MatchWork)]


def next_phases(outcomes: Sequence[Outcome]) -> list[str]:
    """Where works that go on go."""
    return [outcome.phase for outcome in outcomes if isinstance(outcome, Progress)]


LAYERS = SMALL.text["num_hidden_layers"]
CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"
IMAGE = encoded(picture(1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def matcher(checkpoint: Path) -> Matcher:
    return load_matcher(checkpoint)


def test_an_image_with_64_captions_is_encoded_once_and_projected_once_a_layer(matcher: Matcher) -> None:
    with counting(matcher.network) as counted:
        [scores] = run(matcher, item(IMAGE, [f"a dog and {'cats ' * (i % 7)}number {i}" for i in range(64)]))
        assert len(scores) == 64
    assert counted == {"vision_model": 1, "seen": LAYERS}


def test_two_requests_on_one_image_in_a_step_project_it_once(matcher: Matcher) -> None:
    with counting(matcher.network) as counted:
        run(matcher, item(IMAGE, ["a dog " * 18]), item(IMAGE, ["a cat " * 18, "a red dog"], "paper"))
    assert counted == {"vision_model": 1, "seen": LAYERS}


def test_an_image_with_a_short_caption_is_not_projected(matcher: Matcher) -> None:
    with counting(matcher.network) as counted:
        run(matcher, item(IMAGE, ["a dog"]), item(encoded(picture(1)), ["a cat"]))
    assert counted["seen"] == 0


def test_images_with_few_words_and_with_many_share_a_step(checkpoint: Path) -> None:
    images = [encoded(picture(seed)) for seed in range(4)]
    captions = [["a dog"], ["a cat " * 18, "a red " * 18], ["a red dog"], ["a dog " * 12, "a cat " * 12, "a red " * 12]]
    alone = [run(load_matcher(checkpoint), item(image, own))[0] for image, own in zip(images, captions, strict=True)]
    together = run(load_matcher(checkpoint), *(item(image, own) for image, own in zip(images, captions, strict=True)))
    for mine, shared in zip(alone, together, strict=True):
        for one, other in zip(mine, shared, strict=True):
            assert other.itm_score == pytest.approx(one.itm_score, abs=1e-5)


def test_all_images_of_a_step_are_projected_together(matcher: Matcher) -> None:
    with counting(matcher.network) as counted:
        captions = ["a dog", "a cat", "a " * 20, "a red photo of a dog"]
        run(matcher, *(item(encoded(picture(seed)), captions[: 1 + seed % 4] * 2) for seed in range(4)))
    assert counted == {"vision_model": 1, "seen": LAYERS}


def test_a_known_image_is_neither_decoded_nor_encoded(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    run(matcher, item(IMAGE, ["a dog"]))
    with counting(matcher.network) as counted:
        monkeypatch.setattr(matcher._images, "_pixels", lambda image: pytest.fail("decoded again"))
        prepared = matcher.prepare(item(IMAGE, ["a cat"]))
        assert prepared.cached_tokens == prepared.image_tokens == 37
        run_prepared(matcher, [prepared])
    assert counted["vision_model"] == 0


def test_a_cosine_alone_needs_no_cross_attention(matcher: Matcher) -> None:
    with counting(matcher.network) as counted:
        run(matcher, item(IMAGE, ["a dog"], scores=frozenset({"cosine"})))
    assert counted == {"vision_model": 1}


def test_a_caption_s_vector_is_computed_once_for_all_images(matcher: Matcher) -> None:
    rows: list[int] = []
    matcher.network.text_proj.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    captions = ["a dog", "a cat", "a red photo"]
    run(matcher, *(item(encoded(picture(seed)), captions) for seed in range(4)))
    assert rows == [3]


def test_captions_are_cut_into_works_of_like_length_within_the_cost(checkpoint: Path) -> None:
    matcher = load_matcher(checkpoint)
    captions = ["dog " * (1 + i % 30) for i in range(200)]
    prepared = matcher.prepare(item(IMAGE, captions))
    assert len(prepared.works) > 5
    lengths = [work.length for work in prepared.works]
    assert lengths == sorted(lengths)
    [scores] = run_prepared(matcher, [prepared])
    [alone] = run(matcher, item(IMAGE, captions[77:78]))
    assert scores[77].itm_logits == pytest.approx(alone[0].itm_logits, abs=1e-5)
    costs = [work.cost for work in prepared.works]
    assert IMAGE_COST / 2 < max(costs) <= IMAGE_COST


def test_a_launch_that_failed_can_be_tried_again(matcher: Matcher) -> None:
    """State is committed in `collect` only."""
    works = works_of(matcher, item(IMAGE, ["a dog"]), item(IMAGE, ["a cat"]))
    matcher.launch(works)  # lost: never collected
    for work in works:
        work.image.encoding = False
    assert next_phases(matcher.collect(matcher.launch(works))) == ["score", "score"]


def test_a_step_that_waited_for_a_failed_encoding_encodes_itself(matcher: Matcher) -> None:
    first, second = works_of(matcher, item(IMAGE, ["a dog"]), item(IMAGE, ["a cat"]))
    matcher.launch([first])
    behind = matcher.launch([second])  # the first launch encodes the image
    first.image.encoding = False  # ... and fails
    assert next_phases(matcher.collect(behind)) == ["encode"]
    assert next_phases(matcher.collect(matcher.launch([second]))) == ["score"]


@torch.inference_mode()
def test_logits_that_are_not_finite_fail_their_work_alone(matcher: Matcher) -> None:
    works = works_of(matcher, item(IMAGE, ["a dog"]), item(encoded(picture(2)), ["a cat"]))
    for work, phase in zip(works, next_phases(matcher.collect(matcher.launch(works))), strict=True):
        work.phase = phase
    assert works[0].image.tokens is not None
    works[0].image.tokens.fill_(torch.nan)
    broken, sound = matcher.collect(matcher.launch(works))
    assert isinstance(broken, Failed)
    assert isinstance(broken.error, InternalError)
    assert broken.error.code == "not_finite"
    assert isinstance(sound, Done)


def test_an_image_state_that_is_not_finite_is_not_kept(checkpoint: Path) -> None:
    matcher = load_matcher(checkpoint)
    weight = matcher.network.vision_model.embeddings.class_embedding
    whole = weight.clone()
    weight.fill_(torch.nan)
    with pytest.raises(InternalError) as failed:  # its traceback holds the state
        run(matcher, item(IMAGE, ["a dog"]))
    weight.copy_(whole)
    assert len(run(matcher, item(IMAGE, ["a dog"]))[0]) == 1
    assert failed.value.code == "not_finite"


def test_out_of_memory_becomes_the_domain_s(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(matcher.network.vision_model, "forward", exhausted)
    with pytest.raises(OutOfMemory):
        matcher.launch(works_of(matcher, item(IMAGE, ["a dog"])))


def test_a_caption_over_the_positions_is_refused_by_its_field(matcher: Matcher) -> None:
    with pytest.raises(InvalidInput) as refused:
        matcher.prepare(item(IMAGE, ["a dog", "dog " * 60]))
    assert (refused.value.code, refused.value.param) == ("input_too_long", "captions[1]")


def test_the_warm_up_goes_through_every_phase(matcher: Matcher) -> None:
    [scores] = run(matcher, matcher.warm_up())
    assert len(scores) == 2


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError(f"[enforce fail at alloc_cpu.cpp] {CPU_ALLOCATOR}: you tried to allocate"),
        MemoryError(),
        RuntimeError("RuntimeError: std::bad_alloc"),
    ],
)
def test_so_does_a_host_out_of_memory(matcher: Matcher, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def exhausted(*_: object) -> None:
        raise failure

    monkeypatch.setattr(matcher.network.vision_model, "forward", exhausted)
    with pytest.raises(OutOfMemory):
        matcher.launch(works_of(matcher, item(IMAGE, ["a dog"])))


def test_that_is_what_a_host_out_of_memory_says() -> None:
    with pytest.raises(RuntimeError, match=CPU_ALLOCATOR):
        torch.empty(10**15)


@pytest.mark.parametrize("lost", ["vectors", "tokens"])
def test_a_half_evicted_image_is_encoded_again(checkpoint: Path, lost: str) -> None:
    matcher = load_matcher(checkpoint, images={f"cache_{lost}_bytes": 0})
    images = [encoded(picture(seed)) for seed in range(2)]
    first = run(matcher, *(item(image, ["a dog"]) for image in images))
    again = run(matcher, *(item(image, ["a dog"]) for image in images))
    for before, after in zip(first, again, strict=True):
        assert after[0].itm_logits == pytest.approx(before[0].itm_logits, abs=1e-5)
        assert after[0].cosine_score == pytest.approx(before[0].cosine_score, abs=1e-5)


def test_a_long_caption_pads_no_short_one(matcher: Matcher) -> None:
    shapes: list[tuple[int, ...]] = []
    matcher.network.text_encoder.embeddings.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    run(matcher, item(IMAGE, [*(f"dog {i}" for i in range(9)), "dog " * 30], scores=frozenset({"itm"})))
    assert sorted(shapes) == [(1, 32), (9, 4)]


def test_costs_of_the_known_architectures() -> None:
    def of(size: Size) -> tuple[int, int]:
        vision = VisionConfig(**size.vision, layer_norm_eps=1e-5, hidden_act="gelu")
        text = TextConfig(
            **size.text,
            vocab_size=9,
            encoder_hidden_size=vision.hidden_size,
            layer_norm_eps=1e-12,
            hidden_act="gelu",
            bos_token_id=7,
            sep_token_id=3,
        )
        shape = Shape(vision.image_size, vision.patch_size, 0, 0, 0, 0, 0, 0, 0, 0)
        found = costs(Config(vision, text, size.joint, shape), 320)
        return found.image, found.projection

    assert of(BASE) == (38, 6)
    assert of(LARGE) == (129, 8)
