"""The two caches of image states, and states in use."""

import gc
import threading

import torch
from torch import Tensor

from blip_serve.models.image_cache import ByteBoundedCache, ImageCache, ImageState, Need

BOTH: frozenset[Need] = frozenset({"tokens", "vector"})
VECTOR: frozenset[Need] = frozenset({"vector"})


def tensor(numbers: int) -> Tensor:
    return torch.zeros(numbers, dtype=torch.uint8)


def test_the_least_recently_used_leaves_first() -> None:
    cache = ByteBoundedCache(30)
    for digest in "abc":
        cache.put(digest, tensor(10))
    cache.get("a")
    cache.put("d", tensor(10))
    assert [digest for digest in "abcd" if cache.get(digest) is not None] == ["a", "c", "d"]
    assert cache.size == 30


def test_bytes_are_bounded_whatever_comes() -> None:
    cache = ByteBoundedCache(25)
    for i in range(100):
        cache.put(str(i), tensor(1 + i % 26))
        assert cache.size <= 25
    cache.put("too large", tensor(26))
    assert cache.get("too large") is None


def test_an_image_in_use_has_one_state() -> None:
    cache = ImageCache(0, 0)
    state = cache.find("a")
    assert cache.find("a") is state
    assert cache.find("b") is not state


def test_a_state_in_use_is_pinned_though_the_caches_are_full() -> None:
    cache = ImageCache(0, 0)
    state = cache.find("a")
    cache.keep(state, tensor(10), tensor(1))
    assert cache.find("a").tokens is not None
    del state
    gc.collect()
    assert cache.find("a").tokens is None


def test_a_kept_state_is_found_again() -> None:
    cache = ImageCache(100, 100)
    state = cache.find("a")
    state.pixels = tensor(5)
    cache.keep(state, tensor(10), tensor(1))
    assert state.pixels is None
    del state
    gc.collect()
    assert cache.find("a").has(BOTH)
    assert (cache.tokens.size, cache.vectors.size) == (10, 1)


def test_a_vector_outlives_its_tokens_and_serves_a_cosine() -> None:
    cache = ImageCache(10, 100)
    for digest in "ab":
        cache.keep(cache.find(digest), tensor(10), tensor(1))
    gc.collect()
    assert cache.find("a").has(VECTOR)
    assert not cache.find("a").has(BOTH)
    assert cache.find("b").has(BOTH)


def test_an_image_wanted_twice_at_once_is_decoded_once() -> None:
    state = ImageState("a", None, None)
    decoding, go_on = threading.Event(), threading.Event()
    decoded: list[str] = []

    def slowly() -> Tensor:
        decoding.set()
        assert go_on.wait(20)
        decoded.append("first")
        return tensor(1)

    def again() -> Tensor:
        decoded.append("second")
        return tensor(1)

    first = threading.Thread(target=state.fill, args=(BOTH, slowly))
    second = threading.Thread(target=state.fill, args=(BOTH, again))
    first.start()
    assert decoding.wait(20)
    second.start()
    go_on.set()
    first.join(20)
    second.join(20)
    assert decoded == ["first"]


def test_an_image_in_constant_use_stays_in_the_cache() -> None:
    cache = ImageCache(20, 100)
    hot = cache.find("hot")
    cache.keep(hot, tensor(10), tensor(1))
    for i in range(5):
        cache.keep(cache.find(str(i)), tensor(10), tensor(1))
        cache.find("hot")
    del hot
    gc.collect()
    assert cache.find("hot").has(BOTH)
