"""The three BLIPs, their parameters named as transformers' classes name them. Knows no files."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from demo.dimensions import Dimensions
from demo.text import TextDecoder, TextModel
from demo.vision import VisionModel


class Retrieval(nn.Module):
    """BlipForImageTextRetrieval: the two heads of retrieval."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.vision_model = VisionModel(dimensions)
        self.text_encoder = TextModel(dimensions)
        self.vision_proj = nn.Linear(dimensions.width, dimensions.joint)
        self.text_proj = nn.Linear(dimensions.width, dimensions.joint)
        self.itm_head = nn.Linear(dimensions.width, 2)
        _initialise(self, dimensions)

    def image_vector(self, image: Tensor) -> Tensor:
        """(B, S, D) encoded pictures -> (B, J) unit vectors."""
        return F.normalize(self.vision_proj(image[:, 0]), dim=-1)

    def text_vector(self, text: Tensor) -> Tensor:
        """(B, T, D) captions encoded alone -> (B, J) unit vectors."""
        return F.normalize(self.text_proj(text[:, 0]), dim=-1)


class Captioning(nn.Module):
    """BlipForConditionalGeneration: a decoder that reads the picture."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.vision_model = VisionModel(dimensions)
        self.text_decoder = TextDecoder(dimensions)
        _initialise(self, dimensions)


class Answering(nn.Module):
    """BlipForQuestionAnswering: an encoder whose question reads the picture, a decoder that reads the question."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.vision_model = VisionModel(dimensions)
        self.text_encoder = TextModel(dimensions)
        self.text_decoder = TextDecoder(dimensions)
        _initialise(self, dimensions)


def _initialise(model: nn.Module, dimensions: Dimensions) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=dimensions.width**-0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
