"""What the card of captioning says, and its goals."""

from __future__ import annotations

from demo.captioning.batches import PROMPTS
from demo.captions import OTHER_WORDS
from demo.card import unseen_pairs
from demo.tables import table
from demo.task import Figure, Metrics, Prose

GOALS = {"colour": 0.97, "size": 0.95, "shape": 0.92, "one_exact": 0.93, "two_exact": 0.75, "ended": 0.99}
_LABELS = {
    "colour": "colours named rightly",
    "size": "sizes named rightly",
    "shape": "shapes named rightly",
    "one_exact": "one thing: the caption exact",
    "two_exact": "two things: the caption exact",
    "ended": "ended by `[SEP]`",
}
_MEASURED = """\
Measured greedily on the saved folder through transformers' `generate`, on {pictures} pictures drawn from other seeds
than training's, at most {new_tokens} new tokens. A picture's colours (sizes, shapes) are named rightly where the
caption names those of all its things and no other; a caption is exact where it says everything plainly, in either
order. The goals are for combinations of colour and shape met in training; "unseen" is for {pictures} pictures that each
hold one of {unseen_pairs}, which training never showed nor named.

{shares}

Captions begun by lot (an opening, the first words of either order, a size in another word or left out) go on rightly in
{begun:.3f} of the pictures, unseen {unseen_begun:.3f}.

What it says of the shipped pictures:

{shipped}"""


def figures(metrics: Metrics) -> list[Figure]:
    """All that has a goal."""
    return [
        Figure(f"{kind}, {_LABELS[name]}", metrics["seen"][kind][name], goal)
        for kind in ("unprompted", "prompted")
        for name, goal in GOALS.items()
    ]


def _measured(metrics: Metrics) -> str:
    return _MEASURED.format(
        pictures=metrics["pictures"],
        new_tokens=metrics["new_tokens"],
        unseen_pairs=", ".join(unseen_pairs()),
        shares=_shares(metrics),
        begun=metrics["seen"]["begun"],
        unseen_begun=metrics["unseen"]["begun"],
        shipped=_shipped(metrics),
    )


def _shares(metrics: Metrics) -> str:
    prompt = f'after "{metrics["prompt"]}"'
    shares = [metrics[kind][prompted] for kind in ("seen", "unseen") for prompted in ("unprompted", "prompted")]
    return table(
        ["share of pictures", "goal", "no prompt", prompt, "unseen, no prompt", f"unseen, {prompt}"],
        [[_LABELS[name], f"{goal:.2f}", *(share[name] for share in shares)] for name, goal in GOALS.items()],
    )


def _shipped(metrics: Metrics) -> str:
    return table(
        ["picture", "no prompt", f'after "{metrics["prompt"]}"'],
        [[name, told["unprompted"], told["prompted"]] for name, told in metrics["shipped_pictures"].items()],
    )


PROSE = Prose(
    task="image captioning",
    description=(
        "A small BLIP trained on drawn shapes: it says which coloured circles, squares, triangles, stars, crosses and "
        "rings a plain picture shows, and it knows nothing else. It is no general captioner: it calls photographs "
        "shapes too."
    ),
    language={
        "captions": {
            "grammar": "THING | THING and THING | two THINGS",
            "thing": "a size colour shape",
            "order": "large before small, then by the names of the colours, then of the shapes",
            "prompts": [" ".join(prompt) for prompt in PROMPTS],
            "other_words_for_sizes": OTHER_WORDS,
        }
    },
    knows="""\
- Captions such as "a large red circle", "a large green star and a small blue square", "two large pink crosses": every
  thing with its size and colour, the large before the small, then by the names of colours and shapes.
- Prompts: "a picture of", "a drawing of", "an image of", "a photo of", or the first words of a caption in either order.
  A size that the prompt leaves out, or gives as "little" or "big", is left as it is.""",
    measured=_measured,
    taught="""\
The vision tower and the layers of the decoder began with those of blip-serve/demo-retrieval, the vision tower at a
tenth of the rate; the rest began with nothing. The loss is that of the next word, in the plain caption and in three
begun by lot, whose given words were not learnt.""",
)
