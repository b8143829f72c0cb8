"""A fresh process that asks many models in turn under a budget for two, and then several at once.

`python -m tests.support.in_turn FOLDER...` prints as JSON what it saw: the answers of the first round and of the
second, the loads, the budget, and the most bytes that were resident, less the process before any load.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from blip_serve.allocator import keep_memory
from blip_serve.in_process import AsyncBlipServe
from blip_serve.models.device import give_back
from blip_serve.models.footprint import footprint_of
from blip_serve.models.matcher import Matcher
from blip_serve.settings import ModelSettings
from tests.support.memory import resident
from tests.support.pictures import encoded, picture
from tests.support.server import settings

CACHES = {"cache_tokens_bytes": 8_000_000, "cache_vectors_bytes": 100_000}


async def main(folders: list[Path]) -> None:
    """Asks each model, in order, and then all of them at once in a drawn order."""
    keep_memory()
    models = tuple(ModelSettings(id=folder.name, source=str(folder)) for folder in folders)
    each = footprint_of(Matcher, folders[0], settings(models=models, images=CACHES))
    budget = 2 * each.held
    chosen = settings(models=models, images=CACHES, memory={"budget_bytes": budget}, server={"request_timeout_s": 3600})
    give_back()
    before, most, loads = resident(), 0, 0
    ready: set[str] = set()
    async with AsyncBlipServe(chosen) as blip:

        async def ask(name: str) -> float:
            nonlocal most, loads, ready
            [pair] = (await blip.match(encoded(picture(1)), "a dog", model=name)).pairs
            most = max(most, resident() - before)
            now = {model.id for model in blip.tasks.models() if model.state == "ready"}
            loads += len(now - ready)
            ready = now
            assert pair.score.itm_score is not None
            return pair.score.itm_score

        names = [model.id for model in models]
        first = [await ask(name) for name in names]
        drawn = random.Random(0).sample(names, len(names))
        second = dict(zip(drawn, await asyncio.gather(*map(ask, drawn)), strict=True))
    print(json.dumps({"first": first, "second": [second[name] for name in names], "loads": loads, "budget": budget,
                      "most": most}))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main([Path(each) for each in sys.argv[1:]]))
