"""Checkpoints that cannot be loaded say which file and why; the hub's cache and its absence."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import BertTokenizer

from blip_serve.errors import CheckpointError, DeviceLost
from blip_serve.models import checkpoint
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.hub import find_folder
from tests.support.checkpoints import build
from tests.support.damage import (
    RAN,
    Damage,
    code_in_a_pickle,
    code_in_an_archive,
    edit,
    edit_weights,
    pickled,
    truncate,
)
from tests.support.loading import load, load_matcher


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("checkpoint"))


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def meta_weights(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state | {"itm_head.bias": torch.zeros(2, device="meta")}, folder / "pytorch_model.bin")


def another_kind(folder: Path) -> None:
    Tokenizer(Unigram([(word, 0.0) for word in ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "a")], unk_id=0)).save(
        str(folder / "tokenizer.json")
    )


def two_words_one_id(folder: Path) -> None:
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    words[next(word for word, number in words.items() if number == 6)] = 5
    (folder / "tokenizer.json").write_text(json.dumps(content))


def one_word_two_ids(folder: Path) -> None:
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"cat":', '"dog":', 1))


BROKEN: dict[str, tuple[Damage, str]] = {
    "no configuration": (lambda folder: (folder / "config.json").unlink(), r"config\.json: No such file"),
    "configuration cut off": (truncate("config.json"), r"config\.json: not JSON"),
    "another family": (edit("config.json", lambda c: c.update(model_type="clip")), r"config\.json: model_type"),
    "a field of a wrong type": (
        edit("config.json", lambda c: c["vision_config"].update(hidden_size="wide")),  # type: ignore[attr-defined]
        r"config\.json: .*hidden_size",
    ),
    "an unknown activation": (
        edit("config.json", lambda c: c["text_config"].update(hidden_act="tan")),  # type: ignore[attr-defined]
        r"config\.json: text_config\.hidden_act: tan",
    ),
    "heads that do not divide": (
        edit("config.json", lambda c: c["text_config"].update(num_attention_heads=5)),  # type: ignore[attr-defined]
        r"text_config\.num_attention_heads",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "neither model.safetensors nor"),
    "weights cut off": (truncate("model.safetensors"), r"model\.safetensors: not readable"),
    "a parameter missing": (edit_weights(lambda s: s.pop("itm_head.bias")), r"itm_head\.bias is missing"),
    "a parameter left over": (
        edit_weights(lambda s: s.update(extra=torch.zeros(1))), r"model\.safetensors: extra is left over"
    ),
    "a wrong shape": (
        edit_weights(lambda s: s.update({"itm_head.bias": torch.zeros(3)})),
        r"itm_head\.bias is \(3,\), the configuration says \(2,\)",
    ),
    "code in the weights": (pickled(code_in_a_pickle), r"pytorch_model\.bin: refused"),
    "code in an archive of weights": (code_in_an_archive, r"pytorch_model\.bin: refused"),
    "no state dict": (pickled(lambda: pickle.dumps([1, 2], protocol=2)), r"pytorch_model\.bin"),
    "no tokenizer": (lambda folder: (folder / "vocab.txt").unlink(), "neither tokenizer.json nor vocab.txt"),
    "tokenizer too large": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join(f"w{i}" for i in range(999))), "tokenizer has"
    ),
    "tokenizer damaged": (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer not readable"),
    "no preprocessor": (lambda folder: (folder / "preprocessor_config.json").unlink(), r"processor_config\.json"),
    "another size": (edit("preprocessor_config.json", lambda c: c.update(size=40)), r"_config\.json: size: 40"),
    "another rescaling": (edit("preprocessor_config.json", lambda c: c.update(rescale_factor=0.1)), "rescale_factor"),
    "a crop": (edit("preprocessor_config.json", lambda c: c.update(do_center_crop=True)), "do_center_crop"),
    "an unknown filter": (edit("preprocessor_config.json", lambda c: c.update(resample=99)), "resample: 99"),
    "a mean of two": (edit("preprocessor_config.json", lambda c: c.update(image_mean=[0.5, 0.5])), "image_mean"),
    "empty weights": (pickled(lambda: b""), r"pytorch_model\.bin"),
    "nested deep": (
        lambda folder: (folder / "config.json").write_text("[" * 100_000), r"config\.json: not JSON .*nested too deep"
    ),
    "a key twice": (
        lambda folder: (folder / "config.json").write_text('{"a": 1, "a": 2}'), "json: not JSON: 'a' stands there"
    ),
    "sizes beyond memory": (
        edit("config.json", lambda c: c["text_config"].update(hidden_size=10**9, num_attention_heads=1)),  # type: ignore[attr-defined]
        r"config\.json: its sizes take 48,000,.* GB or more, the device has ",
    ),
    "patches beyond memory": (
        edit("config.json", lambda c: c["vision_config"].update(image_size=10**7, patch_size=10)),  # type: ignore[attr-defined]
        r"config\.json: its sizes take ",
    ),
    "a size below one": (
        edit("config.json", lambda c: c["text_config"].update(hidden_size=-32)),  # type: ignore[attr-defined]
        r"config\.json: text_config\.hidden_size: must be a whole number of at least 1",
    ),
    "layers without end": (
        edit("config.json", lambda c: c["vision_config"].update(num_hidden_layers=10**9)),  # type: ignore[attr-defined]
        r"config\.json: vision_config\.num_hidden_layers: 1000000000 is over 1000",
    ),
    "no epsilon": (
        edit("config.json", lambda c: c["vision_config"].update(layer_norm_eps=float("nan"))),  # type: ignore[attr-defined]
        r"config\.json: vision_config\.layer_norm_eps: must be between",
    ),
    "complex weights": (
        edit_weights(lambda s: s.update({"itm_head.bias": s["itm_head.bias"].to(torch.complex64)})),
        r"model\.safetensors: itm_head\.bias is of complex64, not of floating-point numbers",
    ),
    "weights of integers": (
        edit_weights(lambda s: s.update({"itm_head.bias": s["itm_head.bias"].to(torch.int8)})),
        r"model\.safetensors: itm_head\.bias is of int8",
    ),
    "a weight that is no number": (
        edit_weights(lambda s: s["text_encoder.embeddings.word_embeddings.weight"][-1].fill_(torch.nan)),
        r"model\.safetensors: text_encoder\.embeddings\.word_embeddings\.weight holds NaN or infinity",
    ),
    "an infinite weight": (
        edit_weights(lambda s: s["vision_proj.bias"][:1].fill_(-torch.inf)),
        r"model\.safetensors: vision_proj\.bias holds NaN or infinity",
    ),
    "weights without numbers": (
        meta_weights, r"pytorch_model\.bin: itm_head\.bias holds no numbers"
    ),
    "a word twice": (
        lambda folder: append(folder / "vocab.txt", "dog\n"), r"vocab\.txt: 'dog' stands in the vocabulary 2 times"
    ),
    "an id twice": (two_words_one_id, r"tokenizer\.json: the id 5 stands in the vocabulary 2 times"),
    "a tokenizer of another kind": (another_kind, r"tokenizer\.json: its vocabulary is not BERT's"),
    "a word of tokenizer.json twice": (one_word_two_ids, r"tokenizer\.json: not JSON: 'dog' stands there twice"),
    "no object of preprocessing": (
        lambda folder: (folder / "processor_config.json").write_text('{"image_processor": [1]}'),
        r"processor_config\.json: image_processor: not a JSON object",
    ),
    "no normalisation": (edit("preprocessor_config.json", lambda c: c.update(do_normalize=False)), "do_normalize"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), BROKEN.values(), ids=BROKEN)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_broken_checkpoint_names_the_file_and_the_reason(
    sound: Path, tmp_path: Path, damage: Damage, reason: str
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(sound, folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=reason) as refused:
        load_matcher(folder)
    assert str(tmp_path) in str(refused.value)
    assert str(tmp_path) not in refused.value.brief
    assert RAN == []


@pytest.mark.parametrize("source", ["/no/such/folder", "./nothing", "nothing", "a/b/c"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        find_folder(source, None, tmp_path, print)


def test_float16_and_bfloat16_load_in_their_type(sound: Path) -> None:
    for name in ("bfloat16", "float16"):
        network = load_matcher(sound, dtype=name).network
        assert {parameter.dtype for parameter in network.parameters()} == {getattr(torch, name)}


def test_a_weight_too_large_for_its_number_type_is_refused(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(sound, folder)
    edit_weights(lambda state: state["itm_head.bias"].fill_(1e6))(folder)
    assert load_matcher(folder).network.itm_head.bias.tolist() == [1e6, 1e6]
    with pytest.raises(CheckpointError, match=r"itm_head\.bias holds numbers too large for float16"):
        load_matcher(folder, dtype="float16")


def test_a_decoder_too_narrow_for_the_question_is_refused(tmp_path: Path) -> None:
    folder = build(tmp_path, kind="answering")
    with pytest.raises(CheckpointError, match=r"config.json: text_config.encoder_hidden_size: must be hidden_size"):
        load(Answerer, folder)


def test_a_head_that_is_not_tied_is_refused(tmp_path: Path) -> None:
    """Left out in silence it would change every text."""
    folder = build(tmp_path, kind="captioning", pickled=True)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    name = "text_decoder.cls.predictions.decoder.weight"
    torch.save(state | {name: state[name] + 1}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=rf"{name} is left over"):
        load(Captioner, folder)


def test_a_device_that_fails_while_a_model_is_loaded_is_lost(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.AcceleratorError("an illegal memory access was encountered")

    monkeypatch.setattr(checkpoint, "load_weights", fail)
    with pytest.raises(DeviceLost):
        load_matcher(sound)
