"""Reads a checkpoint's weights into a network of ours. Runs no code of the checkpoint's."""

import pickle
import threading
from pathlib import Path
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from blip_serve.allocator import give_back
from blip_serve.errors import CheckpointError
from blip_serve.models.attention import Attention, CrossAttention
from blip_serve.models.decoder import TextDecoder
from blip_serve.models.device import Device
from blip_serve.models.files import PICKLED, SAFETENSORS
from blip_serve.models.layers import DotProductAttention, Linear
from blip_serve.models.text import TextTower
from blip_serve.models.vision import VisionEncoder, VisionTower

_SCRIPTING = threading.Lock()
"""Models are loaded side by side; `torch.jit.script` keeps what it has compiled for all, with no lock of its own."""
IGNORED = ("position_ids",)
"""Last parts of names that older files hold and no network needs: buffers that count 0, 1, 2 ..."""
TIED = {
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
"""What files may hold twice, and the name that the networks load it by."""


def load_weights(network: nn.Module, folder: Path, device: Device) -> None:
    """Loads the folder's weights into a network on the meta device, by name, from a memory-mapped file.

    Each is brought to the device in its number type by itself; a terminal sees a progress bar. Layers become
    TorchScript where the device `scripts`.

    Raises `CheckpointError` naming the file, and the parameters that are missing, left over or of another shape.
    """
    file, state = _read_state(folder)
    state = {name: tensor for name, tensor in state.items() if not name.endswith(IGNORED) and not _is_tied(name, state)}
    expected = dict(network.named_parameters())
    faults = [
        *(f"{name} is missing" for name in sorted(expected.keys() - state.keys())),
        *(f"{name} is left over" for name in sorted(state.keys() - expected.keys())),
        *(
            f"{name} is {tuple(state[name].shape)}, the configuration says {tuple(expected[name].shape)}"
            for name in sorted(expected.keys() & state.keys())
            if state[name].shape != expected[name].shape
        ),
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(file, f"{'; '.join(faults[:3])}{more}")
    loaded = {
        name: state[name].to(device.kind, device.dtype)
        for name in tqdm(expected, desc=f"loading {folder.name}", unit="tensor", leave=False, disable=None)
    }
    network.load_state_dict(loaded, assign=True)
    network.eval().requires_grad_(False)
    _join(network)
    if device.fuses:
        _fuse(network, device)
    if device.scripts:
        _script(network)
    del state, loaded
    give_back()


def _join(network: nn.Module) -> None:
    """One layer in place of those that read the same."""
    for module in list(network.modules()):
        if isinstance(module, Attention | TextDecoder):
            module.join()


def _fuse(network: nn.Module, device: Device) -> None:
    for module in list(network.modules()):
        if isinstance(module, Linear | DotProductAttention | CrossAttention | VisionEncoder):
            module.fuse(device.tiles, device.threads)


def _script(network: nn.Module) -> None:
    """Each tower's layers as one piece of TorchScript, as written: the same operations, without Python between them.

    TorchScript's optimizing of itself is off: it takes half a second at the second call, and gains nothing here.
    """
    torch._C._set_graph_executor_optimize(False)
    towers = [module for module in network.modules() if isinstance(module, TextTower | VisionTower)]
    with _SCRIPTING:
        for tower in towers:
            tower.encoder = torch.jit.script(tower.encoder)  # type: ignore[assignment]  # called as what it was


def _is_tied(name: str, state: dict[str, Tensor]) -> bool:
    """Whether the tensor is there once more by another name; one that differs is left over, and refused as such."""
    twin = state.get(TIED.get(name, ""))
    return twin is not None and torch.equal(state[name], twin)


def _read_state(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    for name, read in ((SAFETENSORS, _read_safetensors), (PICKLED, _read_pickled)):
        file = folder / name
        if file.exists():
            return file, read(file)
    raise CheckpointError(folder, f"holds neither {SAFETENSORS} nor {PICKLED}")


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except OSError as error:
        raise CheckpointError(file, f"not readable: {error.strerror}") from None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(file, f"not readable: {error}") from None


def _read_pickled(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except pickle.UnpicklingError:
        raise CheckpointError(file, "refused: damaged, or holding code beside weights") from None
    except OSError as error:
        raise CheckpointError(file, f"not readable: {error.strerror}") from None
    except (RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(file, f"not readable ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(file, "not a state dict")
    return state
