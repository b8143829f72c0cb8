"""Reads a checkpoint's weights into our network. Runs no code from the checkpoint."""

import pickle
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from blip_serve.errors import CheckpointError
from blip_serve.models.attention import Attention, CrossAttention
from blip_serve.models.decoder import TextDecoder
from blip_serve.models.device import Device, give_back, name_of
from blip_serve.models.files import weight_files
from blip_serve.models.layers import DotProductAttention, Linear
from blip_serve.models.text import TextTower
from blip_serve.models.vision import VisionEncoder, VisionTower

_SCRIPTING = threading.Lock()
"""Models are loaded in parallel, and `torch.jit.script` has a shared cache without a lock of its own."""
IGNORED = ("position_ids",)
"""Ends of the names of buffers in older files that only count 0, 1, 2 ... No network needs them."""
TIED = {
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
"""Tensors that files may hold twice, by the second name; and the name that networks load them by."""


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor, and the file that holds it."""

    tensor: Tensor
    file: Path


def load_weights(network: nn.Module, folder: Path, device: Device) -> None:
    """Loads the folder's weights into a network on the meta device, by name, from memory-mapped files.

    Each is converted to the device's number type and copied to it by itself. In a terminal there is a progress bar.
    Layers become TorchScript if `Device.scripts` says so.

    Raises `CheckpointError` naming the file, and the parameters that are missing, left over, or of another shape, or
    hold anything but finite numbers.
    """
    _load(network, folder, device, whole=True)
    _tune(network, device)
    if device.scripts:
        _script(network)
    give_back()


def load_part(network: nn.Module, folder: Path, device: Device) -> None:
    """Like `load_weights`, for a network that is a part of the checkpoint's. Its layers are not compiled or tuned."""
    _load(network, folder, device, whole=False)


def _load(network: nn.Module, folder: Path, device: Device, whole: bool) -> None:
    """Loads and joins the network's weights. `whole`: whether the files may hold no others."""
    files = weight_files(folder)
    expected = dict(network.named_parameters())
    state = fitting(read_state(files), expected, files[0], whole)
    loaded = {
        name: _converted(name, state[name], device)
        for name in tqdm(expected, desc=f"loading {folder.name}", unit="tensor", leave=False, disable=None)
    }
    network.load_state_dict(loaded, assign=True)
    network.eval().requires_grad_(False)
    _join(network)


def fitting(
    state: Mapping[str, Held], expected: Mapping[str, Tensor], file: Path, whole: bool = True
) -> dict[str, Held]:
    """The weights of a file's `state` that a network has, without what only repeats others or counts.

    `whole`: whether there may be no others. Raises `CheckpointError` naming those that are missing (from `file`), left
    over, or of another shape than `expected`.
    """
    own = {name: held for name, held in state.items() if not name.endswith(IGNORED) and not is_tied(name, state)}
    left_over = own.keys() - expected.keys() if whole else ()
    _refuse(
        [
            *((file, f"{name} is missing") for name in sorted(expected.keys() - own.keys())),
            *((own[name].file, f"{name} is left over") for name in sorted(left_over)),
            *(
                (own[name].file, f"{name} {fault}")
                for name in sorted(expected.keys() & own.keys())
                if (fault := misfit(own[name].tensor, expected[name]))
            ),
        ]
    )
    return own


def _join(network: nn.Module) -> None:
    """Replaces layers that have the same input by one."""
    for module in list(network.modules()):
        if isinstance(module, Attention | TextDecoder):
            module.join()


def _tune(network: nn.Module, device: Device) -> None:
    """Has its layers compute by the device's `Kernels`."""
    for module in list(network.modules()):
        if isinstance(module, Linear | DotProductAttention | CrossAttention | VisionEncoder):
            module.tune(device.kernels, device.threads)


def _script(network: nn.Module) -> None:
    """Compiles each tower's layers to TorchScript: the same operations, without Python between them.

    TorchScript's optimizer is off. It would take half a second at the second call, and gains nothing here.
    """
    torch._C._set_graph_executor_optimize(False)
    towers = [module for module in network.modules() if isinstance(module, TextTower | VisionTower)]
    with _SCRIPTING:
        for tower in towers:
            tower.encoder = torch.jit.script(tower.encoder)  # type: ignore[assignment]  # it is called as before


def _refuse(faults: Sequence[tuple[Path, str]]) -> None:
    """Raises `CheckpointError` for the first file that has a fault, if any has."""
    if faults:
        file = faults[0][0]
        here = [fault for other, fault in faults if other == file]
        told = here[:3]
        more = f" and {len(faults) - len(told)} more" if len(faults) > len(told) else ""
        raise CheckpointError(file, f"{'; '.join(told)}{more}")


def misfit(found: Tensor, expected: Tensor) -> str | None:
    """Why a tensor cannot be the expected weight, if it cannot. Does not look at its numbers."""
    if found.shape != expected.shape:
        return f"is {tuple(found.shape)}, the configuration says {tuple(expected.shape)}"
    if not found.is_floating_point():
        return f"is of {name_of(found.dtype)}, not of floating-point numbers"
    if found.layout != torch.strided or found.device.type != "cpu":
        return "holds no numbers, or not all of them"
    return None


def _converted(name: str, held: Held, device: Device) -> Tensor:
    """The tensor on the device, in its number type. Raises `CheckpointError` if a number is not finite there.

    Looking at the minimum and maximum is the cheapest way to find such a number: a thirtieth of the load's time.
    """
    tensor = held.tensor.to(device.kind, device.dtype)
    if not all(map(torch.isfinite, torch.aminmax(tensor))):
        sound = all(map(torch.isfinite, torch.aminmax(held.tensor.float())))
        what = f"numbers too large for {name_of(device.dtype)}" if sound else "NaN or infinity"
        raise CheckpointError(held.file, f"{name} holds {what}")
    return tensor


def is_tied(name: str, state: Mapping[str, Held]) -> bool:
    """Whether the tensor is a copy of another one (`TIED`). One that differs is not, and is refused as left over."""
    twin = state.get(TIED.get(name, ""))
    if twin is None:
        return False
    one, other = state[name].tensor, twin.tensor
    comparable = one.dtype == other.dtype and not misfit(one, other) and not misfit(other, one)
    return comparable and torch.equal(one, other)


def read_state(files: Sequence[Path]) -> dict[str, Held]:
    """The files' tensors by name. Raises `CheckpointError` if two files have the same name."""
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
        raise CheckpointError(file, f"not readable: {error.strerror or error}") from None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(file, f"not readable: {error}") from None


def _read_pickled(file: Path) -> dict[str, Tensor]:
    return tensors_of(unpickled(file), file)


def unpickled(file: Path) -> Any:
    """What a pickled file holds; its tensors are memory-mapped. Raises `CheckpointError`, for code in it too."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except pickle.UnpicklingError:
        raise CheckpointError(file, "refused: damaged, or holding code beside weights") from None
    except OSError as error:
        raise CheckpointError(file, f"not readable: {error.strerror or error}") from None
    except (RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(file, f"not readable ({type(error).__name__})") from None


def tensors_of(state: Any, file: Path) -> dict[str, Tensor]:
    """The tensors by name. Raises `CheckpointError` naming `file`, if they are something else."""
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise CheckpointError(file, "not a state dict")
    return state
