"""BLIP for retrieval, its parameters named as transformers' BlipForImageTextRetrieval names them. Knows no files."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from demo.dimensions import Dimensions
from demo.text import TextModel
from demo.vision import VisionModel


class Retrieval(nn.Module):
    """BLIP with the two heads of retrieval."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.vision_model = VisionModel(dimensions)
        self.text_encoder = TextModel(dimensions)
        self.vision_proj = nn.Linear(dimensions.width, dimensions.joint)
        self.text_proj = nn.Linear(dimensions.width, dimensions.joint)
        self.itm_head = nn.Linear(dimensions.width, 2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=dimensions.width**-0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def image_vector(self, image: Tensor) -> Tensor:
        """(B, S, D) encoded pictures -> (B, J) unit vectors."""
        return F.normalize(self.vision_proj(image[:, 0]), dim=-1)

    def text_vector(self, text: Tensor) -> Tensor:
        """(B, T, D) captions encoded alone -> (B, J) unit vectors."""
        return F.normalize(self.text_proj(text[:, 0]), dim=-1)
