"""COCO's own shape of captions: pictures and captions apart, joined by the pictures' numbers."""

from collections.abc import Iterator

from pydantic import BaseModel

SUBTYPE = "val2014"
"""What the names of pictures say where a file has numbers alone; those of Karpathy's splits for tests are of it."""


class CocoImage(BaseModel):
    """A picture. BLIP's `coco_karpathy_test_gt.json` has no `file_name`."""

    id: int
    file_name: str | None = None

    @property
    def name(self) -> str:
        """Of its file."""
        return self.file_name or f"COCO_{SUBTYPE}_{self.id:012d}.jpg"


class CocoCaption(BaseModel):
    """A caption of the picture with the number `image_id`."""

    image_id: int
    caption: str


class CocoCaptions(BaseModel):
    """A file such as `captions_val2014.json`."""

    images: list[CocoImage]
    annotations: list[CocoCaption]

    def captioned(self) -> Iterator[tuple[CocoImage, list[str]]]:
        """Each picture with its captions, in the file's order."""
        captions: dict[int, list[str]] = {}
        for each in self.annotations:
            captions.setdefault(each.image_id, []).append(each.caption)
        for image in self.images:
            yield image, captions.get(image.id, [])
