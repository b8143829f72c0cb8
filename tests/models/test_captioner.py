"""What captions share, how they are drawn, how they end, and what they hold while they are written."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from blip_serve.domain import GeneratedText, GenerateItem, Piece, Progress
from blip_serve.errors import InternalError, InvalidInput, OutOfMemory
from blip_serve.models.captioner import Captioner
from blip_serve.models.text_works import GenerateWork
from tests.support.checkpoints import SMALL, build
from tests.support.counting import counting
from tests.support.engine import running_engine
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.reference import CaptionReference
from tests.support.rounding import furthest
from tests.support.running import run, run_prepared, writing
from tests.support.waiting import WAIT_S

LAYERS = SMALL.text["num_hidden_layers"]
IMAGE, OTHER = encoded(picture(1)), encoded(picture(2))
LONG: dict[str, Any] = {"min_tokens": 12, "max_tokens": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("checkpoint"), kind="captioning", seed=7)


@pytest.fixture
def captioner(folder: Path) -> Captioner:
    return load(Captioner, folder)


def streamed(captioner: Captioner, *items: Any) -> tuple[list[list[GeneratedText]], list[list[Piece]]]:
    """The results of items written together, and the pieces of the first item's choices."""
    pieces: list[Piece] = []
    results = run_prepared(captioner, [captioner.prepare(item) for item in items], pieces.append)
    return results, [[piece for piece in pieces if piece.choice == choice] for choice in range(len(results[0]))]


def only_work(captioner: Captioner, item: GenerateItem) -> GenerateWork:
    (work,) = captioner.prepare(item).works
    assert isinstance(work, GenerateWork)
    return work


WAYS: list[dict[str, Any]] = [
    {},
    {"text": "a photo of"},
    {"max_tokens": 3},
    {"stop": ("on",)},
    {"stop": ("on on", ",, t"), "text": "a dog on on"},
    {"num_beams": 3, "n": 2},
    {"temperature": 1.0, "n": 4, "seed": 5, "top_logprobs": 2},
    {"temperature": 2.0, "top_p": 0.9, "n": 4, "stop": ("a", "e "), **LONG},
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("clean_up", [False, True])
def test_pieces_join_to_the_text(captioner: Captioner, way: dict[str, Any], clean_up: bool) -> None:
    captioner._tokenizer.detokenizer._cleans = clean_up
    captioner._tokenizer.detokenizer.held_words = 3 if clean_up else 1
    results, pieces = streamed(captioner, writing(IMAGE, stream=True, **way))
    assert results == run(captioner, writing(IMAGE, **way))
    for text, parts in zip(results[0], pieces, strict=True):
        assert "".join(part.text for part in parts) == text.text
        assert [part.finish_reason for part in parts] == [None] * (len(parts) - 1) + [text.finish_reason]
        assert text.logprobs is None or text.logprobs == tuple(
            logprob for part in parts for logprob in part.logprobs or ()
        )


def test_a_text_comes_in_many_pieces(captioner: Captioner) -> None:
    _, (pieces,) = streamed(captioner, writing(IMAGE, stream=True, temperature=1.5, **LONG))
    assert len(pieces) > 4


def test_a_stop_string_ends_the_text_before_it_and_not_in_the_prompt(captioner: Captioner) -> None:
    prompt = "a small dog"
    whole = run(captioner, writing(IMAGE, prompt, **LONG))[0][0].text.removeprefix(prompt)
    stop = f" {whole.split(' ')[2]}"
    cut = run(captioner, writing(IMAGE, prompt, stop=("small dog", stop), **LONG))[0][0]
    assert cut.text == prompt + whole.split(stop)[0]
    assert cut.finish_reason == "stop"
    assert cut.tokens < 12


def test_logprobs_end_with_the_text_that_a_stop_string_cut(captioner: Captioner) -> None:
    drawn: dict[str, Any] = {"temperature": 1.5, "top_logprobs": 0, **LONG}
    whole = run(captioner, writing(IMAGE, "a dog", **drawn))[0][0]
    assert whole.logprobs is not None
    stop = whole.logprobs[6].text
    cut = run(captioner, writing(IMAGE, "a dog", stop=(stop,), **drawn))[0][0]
    assert cut.logprobs is not None
    assert len(cut.logprobs) < 7
    assert "a dog" + "".join(token.text for token in cut.logprobs) == cut.text


def test_one_seed_gives_one_text_whatever_runs_beside(captioner: Captioner) -> None:
    drawn: dict[str, Any] = {"temperature": 1.0, "top_p": 0.95, **LONG}
    alone = run(captioner, writing(IMAGE, seed=3, n=3, **drawn))[0]
    beside = run(captioner, writing(OTHER, "a", num_beams=3), writing(IMAGE, seed=3, n=3, **drawn))[1]
    assert beside == alone
    assert len({text.text for text in alone}) == 3
    assert run(captioner, writing(IMAGE, seed=4, n=3, **drawn))[0] != alone


@pytest.mark.parametrize("way", [{}, {"num_beams": 3, "n": 2}, {"temperature": 1.0, "n": 2}])
def test_a_text_that_ignores_the_end_takes_all_the_tokens_there_is_room_for(
    captioner: Captioner, way: dict[str, Any]
) -> None:
    assert run(captioner, writing(IMAGE, ignore_eos=True, max_tokens=12, **way)) == run(
        captioner, writing(IMAGE, **way, **LONG)
    )
    room = captioner._tokenizer.positions - 3
    for text in run(captioner, writing(IMAGE, "a dog", ignore_eos=True, max_tokens=1000, **way))[0]:
        assert (text.tokens, text.finish_reason) == (room, "length")
    assert max(text.tokens for text in run(captioner, writing(IMAGE, max_tokens=1000, **way))[0]) < room


def test_a_small_top_p_or_temperature_is_greedy(captioner: Captioner) -> None:
    greedy = run(captioner, writing(IMAGE, **LONG))[0]
    assert run(captioner, writing(IMAGE, temperature=1.0, top_p=1e-6, **LONG))[0] == greedy
    assert run(captioner, writing(IMAGE, temperature=2.0, top_k=1, **LONG))[0] == greedy
    assert run(captioner, writing(IMAGE, temperature=2.0, min_p=1.0, **LONG))[0] == greedy
    assert run(captioner, writing(IMAGE, temperature=1e-4, **LONG))[0] == greedy


def test_greedy_texts_are_written_once_and_given_n_times(captioner: Captioner) -> None:
    prepared = captioner.prepare(writing(IMAGE, n=3))
    assert len(prepared.works) == 1
    assert len(run_prepared(captioner, [prepared])[0]) == 3


def test_logprobs_are_those_of_the_reference(tmp_path: Path) -> None:
    folder = build(tmp_path, kind="captioning", seed=7, calm=True)
    text = run(load(Captioner, folder), writing(IMAGE, "a dog", top_logprobs=3, **LONG))[0][0]
    reference = CaptionReference(folder, torch.float64)
    ids, _ = reference.generate(IMAGE, "a dog", do_sample=False, max_new_tokens=12, min_new_tokens=12)
    words = reference.words.tokenizer("a dog")["input_ids"][1:-1]
    logprobs = reference.logprobs(IMAGE, words, ids[0])
    assert text.logprobs is not None
    wanted = [float(row[id]) for row, id in zip(logprobs, ids[0], strict=True)]
    assert furthest([token.logprob for token in text.logprobs], wanted) <= 1
    for token, row in zip(text.logprobs, logprobs, strict=True):
        assert furthest([logprob for _, logprob in token.top], row.topk(3).values.tolist()) <= 1
    assert "a dog" + "".join(token.text for token in text.logprobs) == text.text


def test_an_image_is_encoded_and_projected_once_for_all_its_texts(captioner: Captioner) -> None:
    items = [writing(IMAGE, "a", n=4, temperature=1.0), writing(IMAGE, num_beams=3), writing(IMAGE)]
    with counting(captioner.network) as counted:
        run(captioner, *items)
    assert counted == {"vision_model": 1, "seen": LAYERS}


def test_many_images_are_not_projected(captioner: Captioner) -> None:
    items = [writing(encoded(picture(seed)), "a", **LONG) for seed in range(5)]
    items.append(writing(encoded(picture(5)), num_beams=3, max_tokens=5))
    alone = [run(captioner, item)[0] for item in items]
    with counting(captioner.network) as counted:
        assert run(captioner, *items) == alone
    assert counted["seen"] == 0


@pytest.mark.parametrize(
    ("text", "options", "param", "code"),
    [
        ("dog " * 41, {}, "text", "input_too_long"),
        ("dog " * 39, {}, "text", "input_too_long"),
        ("dog " * 30, {"min_tokens": 10}, "min_tokens", "invalid_value"),
    ],
)
def test_what_does_not_fit_the_positions_is_refused(
    captioner: Captioner, text: str, options: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(InvalidInput) as found:
        captioner.prepare(writing(IMAGE, text, **options))
    assert (found.value.param, found.value.code) == (param, code)


def test_more_tokens_than_there_are_positions_means_as_many_as_fit(captioner: Captioner) -> None:
    text = run(captioner, writing(IMAGE, "dog " * 19, min_tokens=20, max_tokens=500))[0][0]
    assert (text.tokens, text.finish_reason) == (20, "length")


def test_sequences_wait_for_slots_that_are_free(folder: Path) -> None:
    captioner = load(Captioner, folder)
    captioner._writer.generator._cache._free = [0, 1, 2]
    captioner._writer.generator._cache._limit = 3
    items = (writing(IMAGE, num_beams=3), writing(IMAGE), writing(IMAGE))
    first, second, third = (only_work(captioner, item) for item in items)
    assert captioner.admit(first)
    assert not captioner.admit(second)
    captioner.release(first)
    assert captioner.admit(second)
    assert captioner.admit(third)


class Untouched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates only half of it
    """Whatever computes inside fails."""

    def __torch_dispatch__(self, func: object, *_: object) -> object:
        raise AssertionError(f"{func} was called")


def test_admission_and_its_end_touch_no_device(captioner: Captioner) -> None:
    first, second = (only_work(captioner, writing(IMAGE, num_beams=3)) for _ in range(2))
    assert captioner.admit(first)
    run(captioner, writing(OTHER))  # so that there is a cache
    with Untouched():  # type: ignore[no-untyped-call]
        assert captioner.admit(second)
        captioner.release(first)
        captioner.release(second)


def test_beams_find_room_that_no_prompt_made(captioner: Captioner) -> None:
    alone = run(captioner, writing(IMAGE, num_beams=8, n=8))[0]
    assert len({text.text for text in alone}) == 8
    assert run(captioner, writing(OTHER), writing(IMAGE, num_beams=8, n=8))[1] == alone


def test_a_text_without_finite_scores_fails_alone(captioner: Captioner) -> None:
    long = "a dog " * 5
    good = run(captioner, writing(OTHER, **LONG), writing(OTHER, long, **LONG))
    assert captioner.admit(only_work(captioner, writing(OTHER)))  # so that the cache stays
    bad = captioner.prepare(writing(IMAGE, long, **LONG))
    spoil(captioner, IMAGE)
    with pytest.raises(InternalError):
        run_prepared(captioner, [bad])
    captioner.release(bad.works[0])
    assert run(captioner, writing(OTHER, **LONG), writing(OTHER, long, **LONG)) == good


def spoil(captioner: Captioner, image: bytes) -> None:
    """Makes the tokens of an image that is in use no numbers."""
    state = only_work(captioner, writing(image)).image
    state.tokens = torch.full_like(captioner.network.vision_model.embeddings.position_embedding[0], math.nan)
    state.pixels = None


def test_requests_join_and_leave_between_tokens(folder: Path) -> None:
    captioner = load(Captioner, folder)
    alone = [run(captioner, item)[0] for item in joining()]
    with running_engine() as engine, engine.reserved(0, WAIT_S) as reservation:
        futures = [
            future
            for item in joining()
            for future in engine.submit(reservation, captioner, captioner.prepare(item).works)
        ]
        found = [future.result(WAIT_S) for future in futures]
    assert [[text for _, text in texts] for texts in found] == alone  # type: ignore[attr-defined]
    assert len(captioner._writer.generator._cache._free) == 64


def joining() -> Iterator[Any]:
    for i in range(6):
        yield writing((IMAGE, OTHER)[i % 2], "a dog " * i, min_tokens=i, max_tokens=4 + i, num_beams=1 + i % 3)


def test_a_step_out_of_memory_is_split_and_changes_no_text(folder: Path) -> None:
    captioner = load(Captioner, folder)
    alone = [run(captioner, item)[0] for item in joining()]
    decode = captioner._writer.generator.launch
    failures = iter(range(1000))

    def sometimes(works: Any) -> Any:
        if len(works) > 1 and next(failures) % 3 == 1:
            decode(works)  # what it wrote so far stays written
            raise OutOfMemory("no memory")
        return decode(works)

    captioner._writer.generator.launch = sometimes  # type: ignore[method-assign]
    with running_engine() as engine, engine.reserved(0, WAIT_S) as reservation:
        futures = [
            future
            for item in joining()
            for future in engine.submit(reservation, captioner, captioner.prepare(item).works)
        ]
        found = [future.result(WAIT_S) for future in futures]
    assert [[text for _, text in texts] for texts in found] == alone  # type: ignore[attr-defined]
    assert next(failures) > 3


def test_memory_that_lacks_while_a_step_is_committed_fails_one_search_and_no_neighbour(folder: Path) -> None:
    captioner = load(Captioner, folder)
    alone = run(captioner, writing(IMAGE, **LONG))[0][0].text
    reorder = captioner._writer.generator._cache.reorder
    calls = iter(range(1000))

    def once(slots: Sequence[int], parents: Sequence[int], length: int) -> None:
        if next(calls) == 2:
            raise torch.OutOfMemoryError("no memory")
        reorder(slots, parents, length)

    captioner._writer.generator._cache.reorder = once  # type: ignore[method-assign]
    pieces: list[Piece] = []
    with running_engine() as engine, engine.reserved(0, WAIT_S) as reservation:
        items = [writing(IMAGE, stream=True, **LONG), writing(IMAGE, num_beams=3, **LONG)]
        text, search = (
            engine.submit(reservation, captioner, captioner.prepare(item).works, pieces.append)[0] for item in items
        )
        assert isinstance(search.exception(WAIT_S), OutOfMemory)
        assert text.exception(WAIT_S) is None
    assert "".join(piece.text for piece in pieces) == alone


def test_decoding_costs_a_unit_a_sequence(captioner: Captioner) -> None:
    work = only_work(captioner, writing(IMAGE, num_beams=3))
    assert captioner.admit(work)
    while True:
        outcome = captioner.collect(captioner.launch([work]))[0]
        if not isinstance(outcome, Progress):
            break
        work.phase, work.cost = outcome.phase, outcome.cost
        assert work.cost == {"prefill": work.cost, "decode": 3}[work.phase]
