"""Writes a checkpoint as a folder in the hub's layout: its small files, and its weights in one `model.safetensors`."""

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from blip_serve.durable import new_folder
from blip_serve.lazily import imported
from blip_serve.models.config import read_config
from blip_serve.models.digests import DECIDING
from blip_serve.models.files import SAFETENSORS, architecture_of, weight_files
from blip_serve.models.original import read_original
from blip_serve.models.room import check_room
from blip_serve.models.weights import Held, fitting, read_state


def write_folder(source: Path, like: Path, to: Path) -> None:
    """Writes the checkpoint to the new folder `to`, durably: it is there whole, or not at all.

    `source`: a checkpoint's folder, or one of Salesforce's `.pth`. `like`: the folder whose small files it takes, and
    whose configuration says what weights there must be. A `model.safetensors` is copied as it is. Raises
    `CheckpointError` naming the file at fault, and `OSError`.
    """
    small = [file for name in DECIDING if (file := like / name).exists()]
    expected = _expected(like)
    whole = source / SAFETENSORS
    if source.is_dir():
        files = weight_files(source)
        state = fitting(read_state(files), expected, files[0])
    else:
        state = fitting(read_original(source, expected), expected, source)
    check_room(to.parent, sum(file.stat().st_size for file in small) + sum(map(_size, state.values())))
    with new_folder(to) as new:
        for file in small:
            shutil.copyfile(file, new / file.name)
        if whole.exists():
            shutil.copyfile(whole, new / SAFETENSORS)
        else:
            _save({name: _copied(held.tensor) for name, held in state.items()}, new / SAFETENSORS)


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    """Writes the weights. Raises `OSError`, such as for a full disk, which safetensors has an error of its own for."""
    try:
        save_file(tensors, file, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"{file.name}: {error}") from None


def _expected(folder: Path) -> dict[str, Tensor]:
    """The weights, without numbers, that a checkpoint of the folder's configuration has."""
    network = imported(architecture_of(folder).model).network_class
    with torch.device("meta"):
        return dict(network(read_config(folder)).named_parameters())


def _size(held: Held) -> int:
    return held.tensor.numel() * held.tensor.element_size()


def _copied(tensor: Tensor) -> Tensor:
    """Since `save_file` refuses tensors that share memory, as pickled ones may."""
    return tensor.clone(memory_format=torch.contiguous_format)
