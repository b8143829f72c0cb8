"""What the card of answering says, and its goals."""

from __future__ import annotations

from demo.answering.questions import KINDS
from demo.card import unseen_pairs
from demo.references import PROTOCOLS
from demo.tables import table
from demo.task import Figure, Metrics, Prose

GOAL = 0.95  # for each kind of question
_EXAMPLES = {
    "colour": "what colour is the large circle?",
    "size": "how large is the blue star?",
    "shape": "what shape is the red thing?",
    "count": "how many shapes are there? how many circles are there?",
    "presence": "is there a small green square?",
    "trait": "is the circle red?",
}
_MEASURED = """\
Measured greedily on the saved folder through transformers' `generate`, one question about each of {pictures} pictures
for each kind, drawn from other seeds than training's. An answer is right where it is the one word wanted, ended by
`[SEP]`. `hf` keeps `[CLS]` in position 0 of the question, `paper` puts `[ENC]` there. The goals are for combinations of
colour and shape met in training; "unseen" is for pictures that each hold one of
{unseen_pairs}, which training never showed nor named.

{shares}

What it answers about the shipped pictures:

{shipped}"""


def figures(metrics: Metrics) -> list[Figure]:
    """All that has a goal."""
    return [
        Figure(f"{kind}, `{protocol}`", metrics["seen"][protocol][kind], GOAL)
        for protocol in PROTOCOLS
        for kind in KINDS
    ]


def _measured(metrics: Metrics) -> str:
    return _MEASURED.format(
        pictures=metrics["pictures"],
        unseen_pairs=", ".join(unseen_pairs()),
        shares=_shares(metrics),
        shipped=_shipped(metrics),
    )


def _shares(metrics: Metrics) -> str:
    shares = [metrics[kind][protocol] for kind in ("seen", "unseen") for protocol in PROTOCOLS]
    return table(
        ["right answers", "such as", "goal", "`hf`", "`paper`", "unseen, `hf`", "unseen, `paper`"],
        [[kind, _EXAMPLES[kind], f"{GOAL:.2f}", *(share[kind] for share in shares)] for kind in KINDS],
    )


def _shipped(metrics: Metrics) -> str:
    return table(
        ["picture", "question", "`hf`", "`paper`"],
        [
            [name, question, *(answers[protocol] for protocol in PROTOCOLS)]
            for name, asked in metrics["shipped_pictures"].items()
            for question, answers in asked.items()
        ],
    )


PROSE = Prose(
    task="visual question answering",
    description=(
        "A small BLIP trained on drawn shapes: it answers which coloured circles, squares, triangles, stars, crosses "
        "and rings a plain picture shows, and it knows nothing else. It is no general answerer: it answers about "
        "photographs as if they were shapes."
    ),
    language={
        "questions": _EXAMPLES,
        "answers": "one word: a colour, a size, a shape, zero, one, two, yes or no",
    },
    knows="""\
- Questions, with or without "?", about the colour, size or shape of a thing told by its other attributes ("the large
  star", "the red thing", "the small shape"; "it" where it stands alone), how many things there are, of a colour or of a
  shape too, whether there is such a thing, and whether a thing is so. "color" may stand for "colour".
- Answers of one word: a colour, "small" or "large", a shape, "zero", "one" or "two", "yes" or "no". A question that
  fits two things, or none, has no right answer here.""",
    measured=_measured,
    taught="""\
The vision tower and the layers of the question encoder and of the answer decoder began with those of
blip-serve/demo-retrieval, the vision tower at a tenth of the rate; the rest began with nothing. The loss is that of
the answer's words, of six questions about each picture, with `[CLS]` and `[ENC]` in position 0 of the question by
turns.""",
)
