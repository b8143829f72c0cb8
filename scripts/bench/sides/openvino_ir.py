"""`python -m bench.sides.openvino_ir FOLDER OUT`: the card's checkpoint as OpenVINO's own files, for (o).

Two graphs with weights in float32, `vision.xml` and `text.xml`, and with `-int8` the same as NNCF quantizes them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nncf
import openvino as ov
import torch
from torch import Tensor, nn
from transformers import BlipForImageTextRetrieval, BlipProcessor

from bench.pictures import Pictures, captions
from bench.sides.card import opened

CALIBRATED_ON, SEED = 16, 1
"""Pictures of another seed than those that are timed, with a caption each."""


class Vision(nn.Module):
    """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.vision_model

    def forward(self, pixels: Tensor) -> Tensor:
        """The image's tokens."""
        tokens: Tensor = self.model(pixels).last_hidden_state
        return tokens


class Text(nn.Module):
    """(B, L) ids and mask with one image's (1, N, D) tokens -> (B, 2) logits.

    The tokens are not repeated: keys and values are made of them once, and attention's products broadcast them.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.text_encoder
        self.head = model.itm_head

    def forward(self, ids: Tensor, mask: Tensor, image: Tensor) -> Tensor:
        """Logits of no match and of a match."""
        seen = torch.ones(image.shape[:2], dtype=torch.long)
        states = self.encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image, encoder_attention_mask=seen
        ).last_hidden_state
        logits: Tensor = self.head(states[:, 0])
        return logits


def convert(folder: Path, out: Path) -> None:
    """Writes the four graphs of the retrieval checkpoint in `folder`."""
    loaded: Any = BlipForImageTextRetrieval.from_pretrained(folder)
    model = loaded.eval()
    vision, text = Vision(model), Text(model)
    [(pixels, ids, mask, image), *_] = samples = list(_samples(folder, vision))
    side, tokens, width = pixels.shape[-1], image.shape[1], image.shape[2]
    two = torch.cat([ids, ids]), torch.cat([mask, mask])  # with one text the trace would not tell B from the image's 1
    graphs = {
        "vision": ov.convert_model(vision, example_input=pixels, input=[("pixels", [-1, 3, side, side])]),
        "text": ov.convert_model(
            text,
            example_input=(*two, image),
            input=[("ids", [-1, -1]), ("mask", [-1, -1]), ("image", [1, tokens, width])],
        ),
    }
    given = {"vision": [[pixels] for pixels, *_ in samples], "text": [each for _, *each in samples]}
    for name, graph in graphs.items():
        ov.save_model(graph, out / f"{name}.xml", compress_to_fp16=False)
        inputs = nncf.Dataset([[tensor.numpy() for tensor in each] for each in given[name]])
        quantized = nncf.quantize(graph, inputs, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATED_ON)
        ov.save_model(quantized, out / f"{name}-int8.xml", compress_to_fp16=False)


@torch.no_grad()  # tensors of inference mode cannot be traced
def _samples(folder: Path, vision: Vision) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Pixels, ids, mask and the image's tokens."""
    processor: Any = BlipProcessor.from_pretrained(folder)
    for picture, caption in zip(Pictures(SEED).take(CALIBRATED_ON), captions(CALIBRATED_ON, seed=SEED), strict=True):
        inputs = processor(opened(picture), caption, return_tensors="pt")
        yield inputs["pixel_values"], inputs["input_ids"], inputs["attention_mask"], vision(inputs["pixel_values"])


def main() -> None:
    """Converts one checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    convert(arguments.folder, arguments.out)


if __name__ == "__main__":
    main()
