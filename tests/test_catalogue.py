"""Cards and names."""

import pytest
import torch
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering

from blip_serve.catalogue import ModelCard, Shape, known_cards, resolve

CLASSES = {
    "match": BlipForImageTextRetrieval,
    "caption": BlipForConditionalGeneration,
    "answer": BlipForQuestionAnswering,
}


@pytest.mark.parametrize("card", known_cards().values(), ids=lambda card: card.id)
def test_parameters_are_those_of_the_architecture(card: ModelCard) -> None:
    assert card.architecture is not None
    if card.folder is not None:
        config = BlipConfig.from_pretrained(card.folder)
    else:
        assert card.shape is not None
        wide = card.shape.vision_width
        config = BlipConfig(
            image_text_hidden_size=256,
            vision_config={
                "hidden_size": wide,
                "intermediate_size": 4 * wide,
                "num_hidden_layers": card.shape.vision_layers,
                "num_attention_heads": card.shape.vision_heads,
                "image_size": card.shape.image_size,
            },
        )
    with torch.device("meta"):
        parameters = {
            id(parameter): parameter for parameter in CLASSES[card.architecture.tasks[0]](config).parameters()
        }
    assert card.parameters == sum(parameter.numel() for parameter in parameters.values())


def test_the_embedded_checkpoint_is_small_enough_to_ship() -> None:
    for card in known_cards().values():
        if card.folder is not None:
            assert sum(file.stat().st_size for file in card.folder.iterdir()) <= 8_000_000


def test_differences_name_what_disagrees() -> None:
    card = known_cards()["Salesforce/blip-itm-base-coco"]
    assert card.shape is not None
    assert card.differences(card.shape) == []
    other = Shape(384, 16, 768, 12, 12, 768, 12, 8, 512, 256)
    assert card.differences(other) == ["text_heads: 8, the card says 12"]
    assert ModelCard("unknown").differences(other) == []


def test_names_resolve_with_and_without_owner() -> None:
    ids = ["one/model", "two/model", "one/other"]
    assert resolve("one/model", ids) == "one/model"
    assert resolve("other", ids) == "one/other"
    assert resolve("model", ids) is None
    assert resolve("nothing", ids) is None
