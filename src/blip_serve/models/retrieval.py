"""`BlipForImageTextRetrieval`'s network: the two towers and the two heads. Knows no files, texts or pictures."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from blip_serve.models.config import Config
from blip_serve.models.layers import Linear
from blip_serve.models.text import TextTower
from blip_serve.models.text_batches import BatchedRows
from blip_serve.models.vision import VisionTower


class RetrievalNetwork(nn.Module):
    """Parameters carry the names of the hub's checkpoints, so that a state dict loads straight in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        vision, text, joint = config.vision, config.text, config.joint_width
        self.vision_model = VisionTower(vision)
        self.text_encoder = TextTower(text)
        self.vision_proj = Linear(vision.hidden_size, joint)
        self.text_proj = Linear(text.hidden_size, joint)
        self.itm_head = Linear(text.hidden_size, 2)

    def image_vectors(self, tokens: Tensor) -> Tensor:
        """(B, N, D) token embeddings -> (B, joint) unit vectors, float32."""
        return F.normalize(self.vision_proj(tokens[:, 0]).float(), dim=-1)

    def text_vectors(self, rows: BatchedRows) -> Tensor:
        """B rows starting with `[CLS]` -> (B, joint) unit vectors, float32, in the batches' order."""
        return F.normalize(self.text_proj(self.text_encoder(rows)).float(), dim=-1)

    def match_logits(self, rows: BatchedRows, images: Tensor, kept: Sequence[list[Tensor]] = ()) -> Tensor:
        """B rows about `images` (I, N, D) -> (B, 2) logits `[no match, match]`, float32, in the batches' order.

        `kept`: see `TextTower.states`.
        """
        logits: Tensor = self.itm_head(self.text_encoder(rows, images, kept)).float()
        return logits
