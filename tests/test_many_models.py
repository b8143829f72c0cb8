"""Ten models in turn under a budget for two: every answer right, and the memory of the others given back."""

import asyncio
import random
from pathlib import Path

import pytest

from blip_serve.in_process import AsyncBlipServe
from blip_serve.models.device import give_back
from blip_serve.models.footprint import footprint_of
from blip_serve.models.matcher import Matcher
from blip_serve.settings import ModelSettings
from tests.support.checkpoints import Size
from tests.support.many import build_many
from tests.support.memory import resident
from tests.support.pictures import encoded, picture
from tests.support.server import settings

SIZE = Size(
    vision={"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1536,
            "image_size": 32, "patch_size": 16},
    text={"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1536,
          "max_position_embeddings": 40},
    joint=16,
)  # fmt: skip


def test_ten_models_in_turn_under_a_budget_for_two(tmp_path: Path) -> None:
    folders = build_many(tmp_path, SIZE, 10)
    images = {"cache_tokens_bytes": 100_000, "cache_vectors_bytes": 1000}
    models = tuple(ModelSettings(id=folder.name, source=str(folder)) for folder in folders)
    chosen = settings(models=models, images=images)
    each = footprint_of(Matcher, folders[0], chosen)
    chosen = settings(models=models, images=images, memory={"budget_bytes": 2 * each.held})
    names = [model.id for model in models]

    async def run() -> None:
        async with AsyncBlipServe(chosen) as blip:

            async def score(name: str) -> float:
                found = await blip.match(encoded(picture(1)), "a dog", model=name)
                [pair] = found.pairs
                assert pair.score.itm_score is not None
                return pair.score.itm_score

            right = {name: await score(name) for name in names[:2]}
            give_back()
            with_two = resident()
            right |= {name: await score(name) for name in names[2:]}
            assert len(set(right.values())) == len(names)
            give_back()
            assert resident() - with_two < each.weights // 2
            loaded = [model.id for model in blip.tasks.models() if model.state == "ready"]
            assert loaded == names[-2:]
            again = random.Random(0).sample(names, 4) + loaded
            found = await asyncio.gather(*map(score, again))
            assert found == pytest.approx([right[name] for name in again], abs=1e-5)  # batched
            assert sum(model.state == "ready" for model in blip.tasks.models()) <= 2

    asyncio.run(run())
