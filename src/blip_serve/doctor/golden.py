"""A loaded checkpoint beside published values: its own card's, and for BLIP's demo.jpg those of others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blip_serve.catalogue import known_cards
from blip_serve.doctor.check import Check, judged, not_checked
from blip_serve.doctor.published import GOLDEN, Golden
from blip_serve.doctor.trials import captions, picture, shipped
from blip_serve.domain import AnyModel, Caption, GenerateItem, ImageBytes, MatchItem
from blip_serve.errors import InvalidInput
from blip_serve.models.running import generated_ids, run, run_prepared

PART = "published"
ROUNDED = 6e-3
"""The published values have 4 decimals, and come from other versions of Pillow and torch, some from a GPU."""
ON_CARD = 2e-3
"""The card's have 4 decimals too, of the same float32."""
OTHER = "the weights or the pixels are not those that the values were measured on: bring the checkpoint anew"
GIVEN = f"if --golden is BLIP's demo.jpg, {OTHER}"


def golden_rows(card_id: str, model: AnyModel, file: Path) -> Iterator[Check]:
    """The rows for demo.jpg, given as `file`. A failed row if that cannot be read, or is no picture."""
    if card_id not in GOLDEN:
        yield not_checked(PART, "golden values", "none are published of this checkpoint", f"known: {', '.join(GOLDEN)}")
    try:
        for known in GOLDEN.get(card_id, ()):
            yield from golden_row(known, model, picture(file))
    except (OSError, InvalidInput) as error:
        yield judged(PART, "golden values", False, f"{file}: {error}", "BLIP's demo.jpg", "correct --golden")


def golden_row(known: Golden, model: AnyModel, image: ImageBytes) -> Iterator[Check]:
    """What a model says of the picture beside one published line: two rows for a match, one for a text."""
    name, text = f"{known.text or 'no beginning'!r} ({known.source})", Caption(known.text, "golden")
    if known.probability is not None and known.cosine is not None:
        [[score]] = run(model, MatchItem(image, (text,)))
        for what, found, expected in (
            ("ITM", score.itm_score, known.probability),
            ("cosine", score.cosine_score, known.cosine),
        ):
            near = abs(found - expected) <= ROUNDED
            yield judged(PART, f"{what} of {name}", near, f"{found:.4f}", f"{expected:.4f}", GIVEN)
        return
    prepared = model.prepare(GenerateItem(image, text))
    [[written]] = run_prepared(model, [prepared])
    if known.ids:
        ids = tuple(generated_ids(prepared))
        yield judged(
            PART, f"ids of {name}", ids == known.ids, " ".join(map(str, ids)), " ".join(map(str, known.ids)), GIVEN
        )
    else:
        yield judged(PART, f"text of {name}", written.text == known.written, written.text, known.written, GIVEN)


def card_rows(card_id: str, model: AnyModel) -> Iterator[Check]:
    """What the card of an embedded checkpoint says of the shipped pictures. No rows for others."""
    card = known_cards().get(card_id)
    found = card.metrics.get("shipped_pictures") if card is not None and card.folder is not None else None
    if not found or card is None or card.architecture is None:
        return
    rows = {"match": _matches, "caption": _captions, "answer": _answers}[card.architecture.tasks[0]]
    yield from rows(found, model)


def _matches(said: dict[str, Any], model: AnyModel) -> Iterator[Check]:
    """The right caption's probability and the wrong one's: with exchanged columns each is the other's complement."""
    images, texts = shipped(), captions()
    far, exchanged = 0.0, 0
    for name, by_protocol in said.items():
        for protocol, expected in by_protocol.items():
            right, wrong = (Caption(text, "caption") for text in texts[name])
            [scores] = run(model, MatchItem(images[name], (right, wrong), protocol))
            wanted = (expected["caption"], expected["wrong"])
            found = tuple(score.itm_score for score in scores)
            far = max(far, *(abs(one - other) for one, other in zip(found, wanted, strict=True)))
            exchanged += (found[0] < found[1]) and (wanted[0] > wanted[1])
    yield judged(
        PART, "the card's ITM probabilities", far <= ON_CARD, f"within {far:.1e}", f"within {ON_CARD:g}", OTHER
    )
    columns = "the ITM head's columns are exchanged: they are (no match, match)"
    seen = f"the wrong caption matches better {exchanged} times"
    yield judged(PART, "ITM columns", not exchanged, seen, "0 times", columns)


def _captions(said: dict[str, Any], model: AnyModel) -> Iterator[Check]:
    images = shipped()
    asked = {
        (name, prompt): expected[way]
        for name, expected in said.items()
        for way, prompt in (("unprompted", ""), ("prompted", "a picture of"))
    }
    items = [GenerateItem(images[name], Caption(prompt, "text")) for name, prompt in asked]
    yield _texts("the card's captions", items, list(asked.values()), model)


def _answers(said: dict[str, Any], model: AnyModel) -> Iterator[Check]:
    images = shipped()
    asked = {
        (name, question, protocol): answer
        for name, questions in said.items()
        for question, answers in questions.items()
        for protocol, answer in answers.items()
    }
    items = [
        GenerateItem(images[name], Caption(question, "text"), protocol=protocol) for name, question, protocol in asked
    ]
    yield _texts("the card's answers", items, list(asked.values()), model)


def _texts(name: str, items: list[GenerateItem], expected: list[str], model: AnyModel) -> Check:
    found = [run(model, item)[0][0].text for item in items]
    wrong = [(one, other) for one, other in zip(found, expected, strict=True) if one != other]
    told = f"; {wrong[0][0]!r}, not {wrong[0][1]!r}" if wrong else ""
    return judged(PART, name, not wrong, f"{len(found) - len(wrong)} of {len(found)}{told}", "all the same", OTHER)
