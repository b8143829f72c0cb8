"""Keys and values of images that outlive the step that made them: of a few images whose captions fill many steps.

Only the device thread uses them. They are freed with the image's state, after the last work on it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor

from blip_serve.models.image_cache import ImageState, encoded

MOST = 2
"""Images whose keys and values are kept at once: 42 MB each in float32 (ViT-B at 384 px), 24 times its embeddings.

One image's captions, or the end of one's and the beginning of the next one's, fill the steps of a large request and of
a bulk run.
"""


@dataclass(frozen=True, slots=True)
class SeenImages:
    """Images of a step. `kept`: each layer's (1, 2 heads, N, D / heads). `crowded`: those that it projects or kept."""

    kept: Mapping[ImageState, list[Tensor]]
    crowded: Collection[ImageState]


NONE_SEEN = SeenImages({}, ())


class ProjectedImages:
    """`project`: from (1, N, D_image) tokens to each layer's keys and values, see `TextLayers.project`.

    The first step that projects an image keeps nothing, since most images have only one. The second one keeps what it
    made, as long as no `MOST` others are kept: which would be dropped, and made again in turn.
    """

    def __init__(self, project: Callable[[Tensor], list[Tensor]]) -> None:
        self._project = project
        self._before: WeakSet[ImageState] = WeakSet()
        self._kept: WeakKeyDictionary[ImageState, list[Tensor]] = WeakKeyDictionary()

    def seen(self, images: Iterable[ImageState], crowded: Collection[ImageState]) -> SeenImages:
        """The images of a step, of which many tokens of text attend to the `crowded` ones. Changes nothing."""
        kept = {image: self._kept[image] for image in images if image in self._kept}
        again = [image for image in crowded if image in self._before and image not in kept]
        for image in again[: MOST - len(self._kept)]:
            kept[image] = self._project(encoded(image.tokens)[None])
        return SeenImages(kept, crowded)

    def keep(self, seen: SeenImages) -> None:
        """Keeps what a step made, once it has ended."""
        self._before.update(seen.crowded)
        for image, made in seen.kept.items():
            if len(self._kept) < MOST:
                self._kept.setdefault(image, made)
