"""What the card of retrieval says, and its goals."""

from __future__ import annotations

from demo.captions import OPENINGS, OTHER_WORDS
from demo.card import unseen_pairs
from demo.references import PROTOCOLS
from demo.tables import table
from demo.task import Figure, Metrics, Prose

GOALS = {
    "colour": 0.95,
    "size": 0.95,
    "shape": 0.92,
    "swap": 0.90,
    "cosine": 0.88,
    "reranked_hf": 0.95,
    "reranked_paper": 0.95,
}
_LABELS = {
    "colour": "a changed colour",
    "size": "a changed size",
    "shape": "a changed shape",
    "swap": "an attribute swapped between two things",
    "count": '"two" said of one thing',
    "cosine": "by cosine",
    "reranked_hf": "best 16 ranked again by ITM, `hf`",
    "reranked_paper": "best 16 ranked again by ITM, `paper`",
}
_MEASURED = """\
Measured on the saved folder through transformers' classes, on pictures drawn from other seeds than training's: \
{pictures} for each rule
with a true and a false caption each, at threshold one half; retrieval over {gallery} distinct pictures, the mean of
{galleries} galleries; the best 16 by cosine are ranked again by the ITM probability. `hf` keeps `[CLS]` in position 0 \
for ITM, `paper` puts `[ENC]` there. The goals are for
combinations of colour and shape met in training; "unseen" is for pictures that each hold one of {unseen_pairs}, which
training never showed nor named.

{accuracies}

{recalls}

The probability of the right and of the wrong caption of each shipped picture:

{shipped}"""


def figures(metrics: Metrics) -> list[Figure]:
    """All that has a goal; recalls count with their lesser direction."""
    seen = metrics["seen"]
    accuracies = [
        Figure(f"ITM accuracy, `{protocol}`, {rule}", value, GOALS[rule])
        for protocol, rules in seen["itm_accuracy"].items()
        for rule, value in rules.items()
        if rule in GOALS
    ]
    recalls = seen["recall_at_1"].items()
    return accuracies + [Figure(f"R@1, {name}", min(recall.values()), GOALS[name]) for name, recall in recalls]


def _measured(metrics: Metrics) -> str:
    return _MEASURED.format(
        unseen_pairs=", ".join(unseen_pairs()),
        accuracies=_accuracies(metrics),
        recalls=_recalls(metrics),
        shipped=_shipped(metrics),
        **{name: metrics[name] for name in ("pictures", "gallery", "galleries")},
    )


def _accuracies(metrics: Metrics) -> str:
    kinds = [metrics[kind]["itm_accuracy"][protocol] for kind in ("seen", "unseen") for protocol in PROTOCOLS]
    return table(
        ["ITM accuracy: false by", "goal", "`hf`", "`paper`", "unseen, `hf`", "unseen, `paper`"],
        [
            [_LABELS[rule], f"{GOALS[rule]:.2f}" if rule in GOALS else "none", *(kind[rule] for kind in kinds)]
            for rule in kinds[0]
        ],
    )


def _recalls(metrics: Metrics) -> str:
    kinds = [metrics[kind]["recall_at_1"] for kind in ("seen", "unseen")]
    columns = [(kind, direction) for kind in kinds for direction in ("text_to_image", "image_to_text")]
    return table(
        ["R@1", "goal", "text to image", "image to text", "unseen, text to image", "unseen, image to text"],
        [
            [_LABELS[name], f"{GOALS[name]:.2f}", *(kind[name][direction] for kind, direction in columns)]
            for name in kinds[0]
        ],
    )


def _shipped(metrics: Metrics) -> str:
    return table(
        ["picture", "right, `hf`", "wrong, `hf`", "right, `paper`", "wrong, `paper`"],
        [
            [name, *(scores[protocol][caption] for protocol in PROTOCOLS for caption in ("caption", "wrong"))]
            for name, scores in metrics["shipped_pictures"].items()
        ],
    )


PROSE = Prose(
    task="image-text matching and retrieval",
    description=(
        "A small BLIP trained from nothing on drawn shapes: it tells which coloured circles, squares, triangles, "
        "stars, crosses and rings a plain picture shows, and it knows nothing else. It is no general image-text "
        "model: its scores for photographs mean nothing."
    ),
    language={
        "captions": {
            "grammar": "THING | THING and THING | THING with THING | two THINGS",
            "thing": "a [size] [colour] shape",
            "openings": [" ".join(opening) for opening in OPENINGS],
            "other_words_for_sizes": OTHER_WORDS,
            "truth": "true when each named thing is there; things may go unnamed",
        }
    },
    knows="""\
- Captions such as "a large red circle", "a small blue square and a large green star", "two large pink crosses". Size \
and
  colour may be left out, "little" and "big" may stand for "small" and "large", and the order of things is free. \
A caption
  is true when each thing it names is there; a thing that goes unnamed does not make it false.""",
    measured=_measured,
    taught="""\
Losses: contrast of pictures and captions (ITC), each picture beside one that barely differs; matching (ITM) of true
captions against some with one attribute changed or swapped and against close captions of other pictures, with `[CLS]`
and `[ENC]` in position 0 by turns. Extra questions (what each patch shows, which named thing is missing, which pairs of
attributes are there) taught along and were thrown away.""",
)
