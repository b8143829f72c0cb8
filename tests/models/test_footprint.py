"""What a checkpoint will take of memory, computed before it is read, against what it takes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.catalogue import ModelCard, known_cards
from blip_serve.lazily import imported
from blip_serve.memory import Footprint
from blip_serve.models.budget import CACHE_BYTES, budget, cache_limits
from blip_serve.models.captioner import Captioner
from blip_serve.models.config import config_of, read_config
from blip_serve.models.device import Bfloat16, Device, host_memory
from blip_serve.models.footprint import footprint, footprint_of
from blip_serve.models.kv_cache import KVCache, largest_bytes
from blip_serve.models.matcher import Matcher
from blip_serve.models.projected_images import MOST
from blip_serve.settings import Settings
from tests.support.checkpoints import SMALL, build
from tests.support.loading import load
from tests.support.server import settings

CPU = Device(torch.device("cpu"), torch.float32, bfloat16=Bfloat16.EMULATED)
CARDS = [card for card in known_cards().values() if card.id.startswith("Salesforce/")]


def weights_of(network: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in network.parameters())


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_the_catalogue_s_cards_agree_with_the_networks(card: ModelCard) -> None:
    assert card.shape is not None
    assert card.architecture is not None
    kind = imported(card.architecture.model)
    in_16_bits = footprint(kind, config_of(card.shape), replace(CPU, dtype=torch.bfloat16), settings())
    assert in_16_bits.weights == card.memory["bfloat16"]
    assert bool(in_16_bits.slots) == ("match" not in card.architecture.tasks)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickled"])
def test_what_is_joined_stays_mapped_beside_it_where_the_number_type_is_the_file_s(
    tmp_path: Path, pickled: bool
) -> None:
    folder = build(tmp_path, pickled=pickled)
    found = {dtype: of(folder, dtype=dtype).weights for dtype in ("float32", "bfloat16")}
    matcher = load(Matcher, folder, dtype="bfloat16")
    assert found["bfloat16"] == weights_of(matcher.network)
    text, vision = SMALL.text["hidden_size"], SMALL.vision["hidden_size"]
    joined = SMALL.text["num_hidden_layers"] * (3 * (text * text + text) + 2 * (vision * text + text))
    assert found["float32"] == 2 * found["bfloat16"] + 4 * joined


def test_explanations_take_what_they_load(tmp_path: Path) -> None:
    folder = build(tmp_path)
    matcher = load(Matcher, folder)
    matcher._explanations._network.loaded()
    foretold = of(folder).explaining
    taken = matcher._explanations._network.bytes
    assert taken < foretold < 1.5 * taken


def test_slots_are_those_of_a_full_kv_cache(tmp_path: Path) -> None:
    config = read_config(build(tmp_path, kind="captioning")).text
    cache = KVCache(config, CPU, 64)
    cache.make_room(64, config.max_position_embeddings)
    assert sum(layer.nbytes for layer in cache._kept) == largest_bytes(config, CPU, 64)
    assert of(tmp_path, Captioner).slots > largest_bytes(config, CPU, 64)


def test_what_is_kept_of_projected_images_counts_with_the_caches(tmp_path: Path) -> None:
    matcher = load(Matcher, build(tmp_path))
    made = matcher.network.text_encoder.encoder.project(torch.zeros(1, 37, SMALL.vision["hidden_size"]))
    image = sum(layer.nbytes for layer in made)
    assert of(tmp_path).caches == sum(cache_limits(settings())) + MOST * image


def test_the_budget_is_what_the_settings_say_or_three_quarters_of_the_memory() -> None:
    assert budget(settings(memory={"budget_bytes": 5})) == 5
    assert budget(settings()) == int(0.75 * host_memory())


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ({"memory": {"budget_bytes": 16_000}}, 1000),
        ({"memory": {"budget_bytes": 2**40}}, CACHE_BYTES),
        ({"memory": {"budget_bytes": 16_000}, "images": {"cache_tokens_bytes": 9000}}, 9000),
    ],
)
def test_image_caches_take_a_sixteenth_of_a_small_budget_where_nothing_is_said(
    given: dict[str, Any], tokens: int
) -> None:
    assert cache_limits(settings(**given)) == (tokens, Settings().images.cache_vectors_bytes)


def of(folder: Path, kind: Any = Matcher, **given: Any) -> Footprint:
    return footprint_of(kind, folder, settings(**given))
