"""Reads a checkpoint's weights into a network of ours. Runs no code of the checkpoint's."""

import pickle
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from blip_serve.models.files import weight_files
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


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor, and the file that holds it."""

    tensor: Tensor
    file: Path


def load_weights(network: nn.Module, folder: Path, device: Device) -> None:
    """Loads the folder's weights into a network on the meta device, by name, from memory-mapped files.

    Each is brought to the device in its number type by itself; a terminal sees a progress bar. Layers become
    TorchScript where the device `scripts`.

    Raises `CheckpointError` naming the file, and the parameters that are missing, left over, or of another shape, or
    hold anything but finite numbers.
    """
    files = weight_files(folder)
    state = _read_state(files)
    state = {name: held for name, held in state.items() if not name.endswith(IGNORED) and not _is_tied(name, state)}
    expected = dict(network.named_parameters())
    faults = [
        *((files[0], f"{name} is missing") for name in sorted(expected.keys() - state.keys())),
        *((state[name].file, f"{name} is left over") for name in sorted(state.keys() - expected.keys())),
        *(
            (state[name].file, f"{name} {fault}")
            for name in sorted(expected.keys() & state.keys())
            if (fault := _fault(state[name].tensor, expected[name]))
        ),
    ]
    _refuse(faults)
    loaded = {
        name: _converted(name, state[name], device)
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


def _refuse(faults: Sequence[tuple[Path, str]]) -> None:
    """Raises `CheckpointError` for the first file at fault, where there is one."""
    if faults:
        file = faults[0][0]
        here = [fault for place, fault in faults if place == file]
        told = here[:3]
        more = f" and {len(faults) - len(told)} more" if len(faults) > len(told) else ""
        raise CheckpointError(file, f"{'; '.join(told)}{more}")


def _fault(found: Tensor, expected: Tensor) -> str | None:
    """What keeps a tensor from being the weight that is expected, beside its numbers."""
    if found.shape != expected.shape:
        return f"is {tuple(found.shape)}, the configuration says {tuple(expected.shape)}"
    if not found.is_floating_point():
        return f"is of {str(found.dtype).removeprefix('torch.')}, not of floating-point numbers"
    if found.layout != torch.strided or found.device.type != "cpu":
        return "holds no numbers, or not all of them"
    return None


def _converted(name: str, held: Held, device: Device) -> Tensor:
    """The tensor on the device, in its number type. Raises `CheckpointError` where its numbers are none there.

    The least and the largest are the cheapest that tell of any that is not finite: a thirtieth of a load.
    """
    tensor = held.tensor.to(device.kind, device.dtype)
    if not all(map(torch.isfinite, torch.aminmax(tensor))):
        sound = all(map(torch.isfinite, torch.aminmax(held.tensor.float())))
        what = f"numbers too large for {str(device.dtype).removeprefix('torch.')}" if sound else "NaN or infinity"
        raise CheckpointError(held.file, f"{name} holds {what}")
    return tensor


def _is_tied(name: str, state: Mapping[str, Held]) -> bool:
    """Whether the tensor is there once more by another name; one that differs is left over, and refused as such."""
    twin = state.get(TIED.get(name, ""))
    if twin is None:
        return False
    one, other = state[name].tensor, twin.tensor
    comparable = one.dtype == other.dtype and not _fault(one, other) and not _fault(other, one)
    return comparable and torch.equal(one, other)


def _read_state(files: Sequence[Path]) -> dict[str, Held]:
    """What the files hold, by name. Raises `CheckpointError` where two of them hold the same."""
    state: dict[str, Held] = {}
    for file in files:
        read = _read_safetensors if file.suffix == ".safetensors" else _read_pickled
        for name, tensor in read(file).items():
            if name in state:
                raise CheckpointError(file, f"{name} is in {state[name].file.name} too")
            state[name] = Held(tensor, file)
    return state


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
