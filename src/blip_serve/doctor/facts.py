"""A checkpoint's small files beside what is known of it: the traps of BLIP's files, one row each. Reads no weights.

The catalogue's card is the witness. Without a card only what holds for every BLIP checkpoint is checked.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blip_serve.catalogue import Facts, ModelCard, Shape
from blip_serve.doctor.check import Check, compared, judged, not_checked
from blip_serve.doctor.vocabulary import read_words
from blip_serve.models.files import read_json
from blip_serve.models.processing import CLIP_MEAN, CLIP_STD, STEPS, read_preprocessor

PART = "card"
ASSUMED: dict[str, dict[str, Any]] = {
    "text_config": {
        "vocab_size": 30524,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "bos_token_id": 30522,
        "sep_token_id": 102,
        "pad_token_id": 0,
        "is_decoder": True,
    },
    "vision_config": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 384,
        "patch_size": 16,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
    },
}
"""What transformers takes for keys that `config.json` leaves out. Its 8 text heads are wrong for every known file."""
JOINT_WIDTH = 256
BICUBIC = 3

ANEW = "bring the checkpoint's files anew (`blip-serve pull`), or correct this one in"
IN_CONFIG = f"{ANEW} config.json"
ADVICE = {
    "text_heads": f"{IN_CONFIG}: 12 in every file of Salesforce's, never transformers' default of 8",
    "image_size": f"{IN_CONFIG}: the position embeddings are for one size only",
}


def facts(folder: Path, card: ModelCard) -> Iterator[Check]:
    """The rows. Raises `CheckpointError` for a file that cannot be read."""
    config = read_json(folder / "config.json")
    text, vision = (ASSUMED[name] | _section(config, name) for name in ("text_config", "vision_config"))
    if card.shape is None or card.facts is None or card.architecture is None:
        yield not_checked(
            PART,
            "second witness: card",
            "no card is known of this checkpoint",
            "give a known checkpoint its id of the catalogue (`blip-serve models`)",
        )
    else:
        names = config.get("architectures") or ["none"]
        yield compared(PART, "architecture", names[0], card.architecture.name, IN_CONFIG)
        yield from _sizes(config | {"text_config": text, "vision_config": vision}, card.shape)
        yield from _numbers(text, vision, card.facts)
        yield from _words(folder, card.facts)
    yield from _of_every_blip(folder, text, vision)


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _sizes(config: Mapping[str, Any], shape: Shape) -> Iterator[Check]:
    found = Shape.of({"image_text_hidden_size": JOINT_WIDTH} | dict(config))
    for name in Shape.__slots__:
        advice = ADVICE.get(name, IN_CONFIG)
        yield compared(PART, name.replace("_", " "), getattr(found, name), getattr(shape, name), advice)


def _numbers(text: Mapping[str, Any], vision: Mapping[str, Any], known: Facts) -> Iterator[Check]:
    epsilon = f"{IN_CONFIG}: 1e-05 in the hub's files; 1e-06 is the original code's, and its weights' scores differ"
    yield compared(PART, "vision layer_norm_eps", vision["layer_norm_eps"], known.vision_epsilon, epsilon)
    yield compared(PART, "text layer_norm_eps", text["layer_norm_eps"], known.text_epsilon, IN_CONFIG)
    yield compared(PART, "vocabulary size", text["vocab_size"], known.vocabulary, IN_CONFIG)
    yield compared(PART, "[DEC] id", text["bos_token_id"], known.decoder_id, f"{IN_CONFIG} (bos_token_id)")
    yield compared(PART, "[SEP] id", text["sep_token_id"], known.end_id, f"{IN_CONFIG} (sep_token_id)")
    yield compared(PART, "[PAD] id", text["pad_token_id"], known.pad_id, f"{IN_CONFIG} (pad_token_id)")
    last = "the last id of text_config.vocab_size is [ENC], which the paper's protocol puts first"
    yield compared(PART, "[ENC] id", _last(text["vocab_size"]), known.vocabulary - 1, f"{IN_CONFIG}: {last}")


def _words(folder: Path, known: Facts) -> Iterator[Check]:
    """The tokenizer's files. `[DEC]` and `[ENC]` may be missing there, but not stand elsewhere."""
    file, words = read_words(folder)
    advice = f"{ANEW} {file.name}"
    allowed = " or ".join(map(str, known.words))
    whole = len(words) in known.words and sorted(words.values()) == list(range(len(words)))
    yield judged(PART, "words", whole, f"{len(words)} in {file.name}", f"{allowed}, ids from 0 without gaps", advice)
    special = {"[PAD]": known.pad_id, "[CLS]": known.start_id, "[SEP]": known.end_id}
    optional = {"[DEC]": known.decoder_id, "[ENC]": known.vocabulary - 1}
    for word, expected in special.items():
        yield compared(PART, f"{word} in the words", words.get(word, "missing"), expected, advice)
    for word, expected in optional.items():
        if word in words:
            yield compared(PART, f"{word} in the words", words[word], expected, advice)


def _of_every_blip(folder: Path, text: Mapping[str, Any], vision: Mapping[str, Any]) -> Iterator[Check]:
    cross = f"{IN_CONFIG}: it is what makes transformers' classes create the cross-attention"
    yield compared(PART, "is_decoder", text["is_decoder"], True, cross)
    for name, section in (("text", text), ("vision", vision)):
        yield compared(PART, f"{name} activation", section["hidden_act"], "gelu", IN_CONFIG)
    file, pixels = read_preprocessor(folder)
    advice = f"{ANEW} {file.name}"
    square = f"{advice}: BLIP resizes straight to the square, CLIP's crop would cut the picture's sides"
    crop = bool(pixels.get("do_center_crop", False)) or "shortest_edge" in str(pixels.get("size"))
    yield judged(PART, "no crop", not crop, "center crop" if crop else "none", "none", square)
    side = pixels.get("size", vision["image_size"])
    sides = set(side.values()) if isinstance(side, dict) else {side}
    seen = " x ".join(map(str, side.values())) if isinstance(side, dict) else side
    image = vision["image_size"]
    yield judged(PART, "size of pixels", sides == {image}, seen, f"{image}, the image size", advice)
    yield compared(PART, "resample", pixels.get("resample", BICUBIC), BICUBIC, f"{advice}: 3 is Pillow's bicubic")
    for name, expected in (("mean", CLIP_MEAN), ("std", CLIP_STD)):
        found = pixels.get(f"image_{name}", list(expected))
        near = isinstance(found, list) and len(found) == 3 and _near(found, expected)
        yield judged(PART, name, near, _short(found), _short(list(expected)), advice)
    for step, does in STEPS.items():
        if step != "do_center_crop":
            yield compared(PART, step, pixels.get(step, does), does, advice)


def _last(vocabulary: Any) -> Any:
    return vocabulary - 1 if isinstance(vocabulary, int) else vocabulary


def _near(found: list[Any], expected: tuple[float, ...]) -> bool:
    return all(
        isinstance(one, int | float) and abs(one - other) < 1e-6 for one, other in zip(found, expected, strict=True)
    )


def _short(numbers: Any) -> str:
    is_list = isinstance(numbers, list) and all(isinstance(number, int | float) for number in numbers)
    return " ".join(f"{number:.4f}" for number in numbers) if is_list else str(numbers)
