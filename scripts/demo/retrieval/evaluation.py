"""Evaluation: how well a saved folder matches pictures and captions that training never drew."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from PIL import Image
from torch import Tensor

from demo.captions import Speaker, TruthTable, full_mentions
from demo.drawing import Artist
from demo.pictures import CAPTIONS, shipped
from demo.references import PROTOCOLS, Protocol
from demo.retrieval.scoring import Scorer
from demo.world import Scene, World

HARD_RULES = ("colour", "size", "shape", "swap")
Pairs = tuple[Tensor, list[str]]  # encoded pictures, each with its caption
_SHORTLIST = 16  # how many of the closest by cosine ITM ranks again


@dataclass(frozen=True)
class Amounts:
    """How much to measure on."""

    pictures: int = 1000  # for each rule; each gives a true and a false pair
    gallery: int = 200
    galleries: int = 5


@dataclass(frozen=True)
class Recall:
    """R@1 in both directions."""

    text_to_image: float
    image_to_text: float


def measure(folder: Path) -> dict[str, object]:
    """Every figure of a saved folder."""
    amounts = Amounts()
    scorer = Scorer(folder)
    return {
        **asdict(amounts),
        "seen": _evaluate(scorer, amounts, unseen=False),
        "unseen": _evaluate(scorer, amounts, unseen=True),
        "shipped_pictures": _score_shipped(scorer),
    }


def _evaluate(scorer: Scorer, amounts: Amounts, *, unseen: bool) -> dict[str, object]:
    """Every figure, on scenes of seen (colour, shape) pairs, or on scenes that each hold an unseen one."""
    galleries = [_recalls(scorer, amounts.gallery, f"gallery/{unseen}/{at}", unseen) for at in range(amounts.galleries)]
    kinds = {rule: _accuracies(scorer, rule, amounts.pictures, unseen) for rule in HARD_RULES}
    kinds["count"] = _count_accuracies(scorer, amounts.pictures, unseen)
    return {
        "itm_accuracy": {protocol: {kind: kinds[kind][protocol] for kind in kinds} for protocol in PROTOCOLS},
        "recall_at_1": {name: _mean([gallery[name] for gallery in galleries]) for name in galleries[0]},
    }


def _mean(recalls: list[Recall]) -> dict[str, float]:
    rows = [asdict(recall) for recall in recalls]
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]}


def _accuracies(scorer: Scorer, rule: str, pictures: int, unseen: bool) -> dict[Protocol, float]:
    """ITM accuracy at one half on as many true captions as captions made false by the rule."""
    rng = Random(f"evaluation/{rule}/{unseen}")
    world, speaker, artist = World(rng), Speaker(rng), Artist(rng)
    shown: list[Image.Image] = []
    true: list[str] = []
    false: list[str] = []
    while len(shown) < pictures:
        scene = world.scene(unseen=unseen)
        mentions = full_mentions(scene)
        changed = speaker.falsified(mentions, scene, rule, unseen=unseen)
        if changed:
            shown.append(artist.picture(scene))
            true.append(speaker.say(mentions).text)
            false.append(speaker.say(changed).text)
    images = scorer.images(shown)
    return _balanced(scorer, (images, true), (images, false))


def _count_accuracies(scorer: Scorer, pictures: int, unseen: bool) -> dict[Protocol, float]:
    """The same for captions such as "two red circles", true of pictures of two such things and false of one."""
    rng = Random(f"evaluation/count/{unseen}")
    world, speaker, artist = World(rng), Speaker(rng), Artist(rng)
    things = [world.thing(unseen=unseen) for _ in range(pictures)]
    captions = [speaker.say(full_mentions(Scene((thing, thing)))).text for thing in things]
    two = scorer.images([artist.picture(Scene((thing, thing))) for thing in things])
    one = scorer.images([artist.picture(Scene((thing,))) for thing in things])
    return _balanced(scorer, (two, captions), (one, captions))


def _balanced(scorer: Scorer, true: Pairs, false: Pairs) -> dict[Protocol, float]:
    """The mean of the shares of true pairs accepted and of false pairs refused, at one half."""
    result: dict[Protocol, float] = {}
    for protocol in PROTOCOLS:
        accepted = (scorer.log_odds(*true, protocol) > 0).float().mean()
        refused = (scorer.log_odds(*false, protocol) <= 0).float().mean()
        result[protocol] = round(float(accepted + refused) / 2, 4)
    return result


def gallery_scenes(count: int, rng: Random, *, unseen: bool) -> list[Scene]:
    """Scenes of which each one's full caption is true of itself alone."""
    world, speaker = World(rng), Speaker(rng)
    scenes: list[Scene] = []
    while len(scenes) < count:
        tried = [*scenes, world.scene(unseen=unseen)]
        if TruthTable(tried)([speaker.full(scene) for scene in tried]).sum() == len(tried):
            scenes = tried
    return scenes


def _recalls(scorer: Scorer, count: int, seed: str, unseen: bool) -> dict[str, Recall]:
    """By cosine, and with the shortlist ranked again by ITM under each protocol."""
    rng = Random(f"evaluation/{seed}")
    scenes = gallery_scenes(count, rng, unseen=unseen)
    artist, speaker = Artist(rng), Speaker(rng)
    images = scorer.images([artist.picture(scene) for scene in scenes])
    captions = [speaker.say(full_mentions(scene)).text for scene in scenes]
    cosines = scorer.cosines(images, captions)
    recalls = {"cosine": Recall(_hits(cosines.T), _hits(cosines))}
    for protocol in PROTOCOLS:
        recalls[f"reranked_{protocol}"] = Recall(
            _hits(_reranked(scorer, images, captions, cosines, protocol, by_caption=True)),
            _hits(_reranked(scorer, images, captions, cosines, protocol, by_caption=False)),
        )
    return recalls


def _hits(scores: Tensor) -> float:
    """The share of rows whose best column is their own."""
    return float((scores.argmax(dim=1) == torch.arange(len(scores))).float().mean())


def _reranked(
    scorer: Scorer, images: Tensor, captions: list[str], cosines: Tensor, protocol: Protocol, *, by_caption: bool
) -> Tensor:
    """Log odds of the closest few of each query, and nothing for the rest: (queries, gallery)."""
    scores = cosines.T if by_caption else cosines
    shortlist = scores.topk(_SHORTLIST, dim=1).indices
    queries = torch.arange(len(scores))[:, None].expand_as(shortlist).flatten()
    found = shortlist.flatten()
    pictures, texts = (found, queries) if by_caption else (queries, found)
    odds = scorer.log_odds(images[pictures], [captions[at] for at in texts.tolist()], protocol)
    result = torch.full_like(scores, float("-inf"))
    result[queries, found] = odds
    return result


def _score_shipped(scorer: Scorer) -> dict[str, dict[str, dict[str, float]]]:
    """The ITM probability of each shipped picture's two captions, under both protocols."""
    images = scorer.images(list(shipped().values()))
    result: dict[str, dict[str, dict[str, float]]] = {name: {} for name in CAPTIONS}
    for protocol in PROTOCOLS:
        right = torch.sigmoid(scorer.log_odds(images, [caption for caption, _ in CAPTIONS.values()], protocol))
        wrong = torch.sigmoid(scorer.log_odds(images, [false for _, false in CAPTIONS.values()], protocol))
        for name, high, low in zip(CAPTIONS, right.tolist(), wrong.tolist(), strict=True):
            result[name][protocol] = {"caption": round(high, 4), "wrong": round(low, 4)}
    return result
