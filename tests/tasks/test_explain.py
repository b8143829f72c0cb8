"""The explain task without HTTP: what a request is admitted at."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import BertTokenizer

from blip_serve.catalogue import ModelCard
from blip_serve.domain import EXPLAIN_PASSES, Caption, caption_cost, request_cost
from blip_serve.images.reference import BytesImage
from blip_serve.settings import LimitSettings
from blip_serve.tasks.explain import ExplainRequest, admission_cost

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "ᄒ", "##ᄒ", "##ᅡ", "##ᆫ", "犬", "."]


@pytest.mark.parametrize("text", ["a", "aaaaaaaaaaaaaa", "한" * 50, "犬" * 29, "a." * 300])
def test_no_text_has_more_tokens_than_it_is_admitted_at(text: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(tmp_path, local_files_only=True)
    tokens = min(len(tokenizer(text).input_ids), 512)
    request = ExplainRequest((BytesImage(b"", "image"),), (Caption(text, "caption"),))
    cost = admission_cost(request, ModelCard("m"), LimitSettings())
    assert cost >= request_cost(1, EXPLAIN_PASSES * caption_cost(tokens))
    drawn = admission_cost(replace(request, format="png"), ModelCard("m"), LimitSettings())
    assert cost < drawn <= cost + 256
