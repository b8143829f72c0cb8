"""Text and image retrieval as the BLIP paper measures it.

The figures are the recall of the true texts of a picture (TR), and of the true picture of a text (IR), among candidates
by cosine that the match logit puts in order.

The procedure is that of salesforce/BLIP:train_retrieval.py. Each picture is asked for once with all texts that it is a
pair with, whichever of both found the other: so its cross-attention keys and values are computed once, and a pair that
both directions need is scored once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blip_serve.domain import ScoringProtocol, Task
from blip_serve.jobs.evaluation.answering import Answering
from blip_serve.jobs.evaluation.evaluation import Evaluation, Measured
from blip_serve.jobs.evaluation.gallery import Gallery
from blip_serve.jobs.evaluation.gallery_questions import GalleryQuestions
from blip_serve.jobs.evaluation.pairs import Pairs
from blip_serve.jobs.evaluation.published import (
    COCO_PICTURES,
    COCO_RETRIEVAL,
    FLICKR30K_PICTURES,
    FLICKR30K_RETRIEVAL,
    Published,
    of_other_pictures,
)
from blip_serve.jobs.evaluation.ranking import candidates, ranks, recall
from blip_serve.tasks.match import MatchRequest

AT = (1, 5, 10)
K: Mapping[str, int] = {"coco": 256, "flickr30k": 128}
"""Candidates of a query, by data set: `k_test` of salesforce/BLIP:configs/retrieval_{coco,flickr}.yaml."""
PUBLISHED: Mapping[str, Sequence[Published]] = {"coco": COCO_RETRIEVAL, "flickr30k": FLICKR30K_RETRIEVAL}
PICTURES: Mapping[str, int] = {"coco": COCO_PICTURES, "flickr30k": FLICKR30K_PICTURES}
TUNED_ON_COCO = (
    "Flickr30k: what is published as zero-shot there is of the checkpoint tuned on COCO (blip-itm-*-coco), not of the "
    "one before it was tuned; a checkpoint tuned on Flickr30k (blip-itm-*-flickr) compares with tuned figures only."
)
OF_PAPER = "The published figures are by the protocol `paper`; by `hf` the model reads other tokens."


@dataclass(frozen=True, slots=True)
class Retrieval(Evaluation):
    """Retrieval in a gallery. `k`: candidates of a query. `dataset`: one of `K`, if it is one of these."""

    gallery: Gallery
    data: str
    k: int
    dataset: str | None = None
    name: str = "retrieval"

    @property
    def needs(self) -> tuple[Task, ...]:
        """Both are needed, and the models that match are those that embed."""
        return MatchRequest.needs

    @property
    def described(self) -> Mapping[str, str]:
        """Not `k`: vectors serve any, and each question of pairs names its texts."""
        return {"data": self.gallery.digest}

    @property
    def published(self) -> Sequence[Published]:
        """Those of the data set."""
        return PUBLISHED.get(self.dataset or "", ())

    def notes(self, protocol: ScoringProtocol) -> Sequence[str]:
        """What tells them from those measured."""
        tuned = (TUNED_ON_COCO,) if self.dataset == "flickr30k" else ()
        found, published = len(self.gallery.entries), PICTURES.get(self.dataset or "")
        other = of_other_pictures(published, found) if published else ()
        return (*tuned, *other, *((OF_PAPER,) if protocol == "hf" and self.published else ()))

    async def measure(self, answering: Answering) -> Measured:
        """Embeds all, finds candidates, scores each pair once, and ranks."""
        ask, gallery = GalleryQuestions(answering, self.gallery), self.gallery
        pictures, texts = await ask.picture_vectors(), await ask.text_vectors()
        near_pictures, picture_cosines = await asyncio.to_thread(candidates, pictures, texts, self.k)
        near_texts, text_cosines = await asyncio.to_thread(candidates, texts, pictures, self.k)
        pairs = Pairs.of(near_pictures, near_texts, ask.distinct)
        picture_logits, text_logits = pairs.scores(await ask.logits(pairs))
        tr = ranks(near_pictures, picture_logits + picture_cosines, gallery.texts_of, len(texts))
        ir = ranks(near_texts, text_logits + text_cosines, [[owner] for owner in gallery.owners], len(pictures))
        counts = {
            "pictures": len(pictures),
            "texts": len(texts),
            "candidates": min(self.k, len(texts)),
            "pairs scored": len(pairs.keys),
        }
        return Measured(_figures(tr, ir), counts, {"ranks": {"TR": tr, "IR": ir}})


def _figures(tr: Sequence[int], ir: Sequence[int]) -> dict[str, float]:
    """Recalls in per cent, and the mean of all six."""
    found = {f"{name}@{at}": recall(of, at) for name, of in (("TR", tr), ("IR", ir)) for at in AT}
    return {**found, "mean": sum(found.values()) / len(found)}
