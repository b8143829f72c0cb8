"""Values that others published of checkpoints, for BLIP's demo.jpg: a woman and her dog on a beach."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Golden:
    """What a checkpoint says of demo.jpg. `text`: a caption or a beginning. Of the others those that are known."""

    text: str
    source: str
    probability: float | None = None
    cosine: float | None = None
    ids: tuple[int, ...] = ()
    written: str = ""


HF_TEST = "transformers:tests/models/blip/test_modeling_blip.py"
WOMAN = (30522, 1037, 2450, 3564, 2006, 1996, 3509, 2007, 2014, 3899, 102)
GOLDEN: dict[str, tuple[Golden, ...]] = {
    "Salesforce/blip-itm-base-coco": (
        Golden("A woman and her dog sitting in a beach", HF_TEST, 0.9971, 0.5162),
        Golden("a woman sitting on the beach with a dog", "salesforce/BLIP:demo.ipynb", 0.9960, 0.5262),
    ),
    "Salesforce/blip-image-captioning-base": (
        Golden("", HF_TEST, ids=WOMAN[1:]),
        Golden("a photography of", "the model card", written="a photography of a woman and her dog"),
    ),
}
"""By the id of the catalogue."""
