"""`BlipForConditionalGeneration`'s and `BlipForQuestionAnswering`'s networks. Knows no files, texts or pictures."""

from torch import nn

from blip_serve.models.config import Config
from blip_serve.models.decoder import TextDecoder
from blip_serve.models.text import TextTower
from blip_serve.models.vision import VisionTower


class CaptioningNetwork(nn.Module):
    """Parameters carry the names of the hub's checkpoints, so that a state dict loads straight in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.vision_model = VisionTower(config.vision)
        self.text_decoder = TextDecoder(config.text)


class AnsweringNetwork(nn.Module):
    """A tower reads the question together with the image. The decoder attends to the tower's output."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.vision_model = VisionTower(config.vision)
        self.text_encoder = TextTower(config.text)
        self.text_decoder = TextDecoder(config.text)
