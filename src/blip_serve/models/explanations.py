"""From items that ask for explanations to their works. The models of all architectures share this."""

from collections.abc import Callable, Sequence
from typing import Any

from blip_serve.domain import ExplainItem, ExplainMethod, Prepared, Task
from blip_serve.models.beside import Beside
from blip_serve.models.checkpoint import Checkpoint
from blip_serve.models.config import Config
from blip_serve.models.explain_works import explain_works, how_to
from blip_serve.models.explainer import Explainer
from blip_serve.models.image_cache import TOKENS
from blip_serve.models.image_encoder import ImageEncoder
from blip_serve.models.readers import Reader
from blip_serve.models.words import Spelled


class Explanations:
    """Prepares explanations by a reader of the checkpoint's architecture. `phase`: makes them.

    `methods`: those that the architecture has, its own first.
    """

    def __init__(
        self,
        checkpoint: Checkpoint[Any],
        images: ImageEncoder,
        reader: Callable[[Config], Reader],
        methods: Sequence[ExplainMethod],
    ) -> None:
        self._network = Beside(lambda: reader(checkpoint.config), checkpoint.folder, checkpoint.device)
        self._images = images
        self._decoder = checkpoint.decoder
        self._methods = methods
        self._projection = checkpoint.costs.projection
        self._layer = checkpoint.card.explain_layer or 0
        self._layers = checkpoint.config.text.num_hidden_layers
        self.phase = Explainer(self._network, checkpoint.device)
        checkpoint.telemetry.watch_explaining(checkpoint.card.id, self._network, lambda network: network.bytes)

    def missing(self, tasks: Sequence[Task]) -> Callable[[], object] | None:
        """See `Model`: the network, which the first explanation needs."""
        return self._network.loaded if "explain" in tasks and not self._network.is_loaded else None

    def prepare(self, item: ExplainItem, read: Sequence[Spelled], question: tuple[int, ...] = ()) -> Prepared:
        """Finds or decodes the image. `read`: the captions as the architecture reads them; `question`: its ids.

        Loads the network if nothing else did. Raises `InvalidInput` naming the field of the image, the captions, the
        method or the layer, and what `Beside.loaded` raises.
        """
        how = how_to(item, self._methods, self._layer, self._layers)
        self._network.loaded()
        image = self._images.find(item.image, TOKENS)
        works = explain_works(item, read, how, image.state, self._decoder.size(item.image), self._projection, question)
        asked = [question] if question else []
        return image.prepared(works, [*asked, *(each.ids for each in read)])
