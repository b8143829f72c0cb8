"""The operator `capfilt`: BLIP's captioning and filtering of web data, as in the paper."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blip_serve.domain import Caption, GenerationOptions, Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import picture_of, text_of
from blip_serve.jobs.operators.match import scores_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.seeds import seeded
from blip_serve.jobs.operators.serving import DEFAULT, PAPER, Serving
from blip_serve.jobs.rows import ColumnType, Dropped, Fields, Row
from blip_serve.tasks.generate import CaptionRequest
from blip_serve.tasks.match import MatchRequest

SAMPLED = GenerationOptions(max_tokens=19, min_tokens=4, temperature=1.0, top_p=0.9, repetition_penalty=1.1)
"""How BLIP's captioner samples: nucleus, top-p 0.9, temperature 1. Its lengths, 5 to 20, count the first token.

Source: section 4.2 of the paper (arXiv 2201.12086); salesforce/BLIP:models/blip.py:BLIP_Decoder.generate, and
demo.ipynb for the lengths. The code of the paper's own run over web data is not published.
"""
THRESHOLD = 0.5
"""The paper drops a text that the matching head calls unmatched: below 0.5 that is the likelier class."""
REASON = "no text matches"
KINDS = ("web", "synthetic")


@dataclass(frozen=True, slots=True)
class CapFiltOperator(Operator):
    """Writes one caption of each picture, and keeps of it and of the web text in `column` those that match.

    Columns: `synthetic` (the caption), `web_itm_score` and `synthetic_itm_score` (0..1), `kept` (of `web` and
    `synthetic`), `texts` (those that are kept). A row with no text left is dropped. `threshold`: the least ITM score of
    a web text. `synthetic_threshold`: of a caption, by default the same; a higher one makes up for errors that the two
    models share. `seed`: the run's. Each row draws with one of its own.
    """

    column: str
    threshold: float = THRESHOLD
    synthetic_threshold: float | None = None
    options: GenerationOptions = SAMPLED
    beginning: str = ""
    seed: int = 0
    captioner: Serving = DEFAULT
    matcher: Serving = PAPER

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return (self.column,)

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """A caption, and a match of it and the web text."""
        return ((CaptionRequest.needs, self.captioner), (MatchRequest.needs, self.matcher))

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The synthetic caption, the scores, and what is kept."""
        return {
            "synthetic": "string",
            "web_itm_score": "number",
            "synthetic_itm_score": "number",
            "kept": "strings",
            "texts": "strings",
        }

    @property
    def text(self) -> str | None:
        """The synthetic caption. Web texts have files of their own already."""
        return "synthetic"

    @property
    def score(self) -> str | None:
        """That of the web text: it is what the run judges."""
        return "web_itm_score"

    def labels(self, made: Fields) -> Iterable[str]:
        """Texts of both kinds, kept and dropped."""
        return (f"{kind} texts {'kept' if kind in made['kept'] else 'dropped'}" for kind in KINDS if made)

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields | Dropped:
        """The texts that are kept, or why the row is dropped. Raises `ServiceError`."""
        web, image = text_of(row, self.column), picture_of(picture)
        synthetic = Caption(await self._write(row, image, ask), "synthetic")
        texts = dict(zip(KINDS, (web.text, synthetic.text), strict=True))
        scores = await self._score(image, [text for text in (web, synthetic) if text.text.strip()], ask)
        least = (self.threshold, self.threshold if self.synthetic_threshold is None else self.synthetic_threshold)
        kept = [kind for kind, score, bound in zip(texts, scores, least, strict=False) if score >= bound]
        fields: Fields = {
            "synthetic": synthetic.text,
            "web_itm_score": scores[0],
            "synthetic_itm_score": scores[1] if len(scores) > 1 else None,
            "kept": kept,
            "texts": [texts[kind] for kind in kept],
        }
        return fields if kept else Dropped(REASON, fields)

    async def _write(self, row: Row, image: BytesImage, ask: Ask) -> str:
        options = seeded(self.options, self.seed, row.key)
        request = CaptionRequest(image, Caption(self.beginning, "--beginning"), options)
        return (await ask(self.captioner.of(request))).text

    async def _score(self, image: BytesImage, texts: list[Caption], ask: Ask) -> list[float]:
        """The ITM scores. A caption that is blank was left out: it matches nothing."""
        request = MatchRequest((image,), tuple(texts), scores=frozenset({"itm"}))
        return scores_of(await ask(self.matcher.of(request)), "itm_score")
