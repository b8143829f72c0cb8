"""A pretended CUDA card: its tensors compute on the CPU, and what would make the host wait for a real one raises.

It knows the same faults as `torch.cuda.set_sync_debug_mode("error")`: reading a value, copies that are not of pinned
memory, counting what a mask has. Results are those of a CPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from blip_serve.models.device import Device, Pending

CARD = torch.device("meta")
"""A kind of device that torch knows without CUDA, and that has no arithmetic of its own."""
aten = torch.ops.aten
READING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.bincount, aten.equal}
PUTTING = {aten.index_put, aten.index_put_, aten._index_put_impl_}
INDEXING = {aten.index, *PUTTING}


class HiddenSynchronisation(AssertionError):
    """The host would wait for the card."""


class OnCard(Tensor):
    """A tensor on the card; `host` has its numbers, `number` tells that it is one of Python's."""

    host: Tensor
    number = False

    @staticmethod
    def __new__(cls, real: Tensor) -> "OnCard":
        """Wraps `real`."""
        made: OnCard = Tensor._make_wrapper_subclass(
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=CARD,
        )
        made.host = real
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own is a function
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Where no `Card` watches."""
        return _compute(func, args, kwargs or {})


class Card(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates only half of it
    """While it is entered, tensors can be made on the card; within `strictly` the host must not wait."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.strict = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Each operation of torch."""
        kwargs = kwargs or {}
        if self.strict and (fault := _waits(func, args, kwargs)):
            raise HiddenSynchronisation(f"{func}: {fault}")
        return _compute(func, args, kwargs)

    @contextmanager
    def strictly(self) -> Iterator[None]:
        """See the class."""
        self.strict = True
        try:
            yield
        finally:
            self.strict = False


@dataclass(frozen=True, slots=True)
class Pretended(Device):
    """A `Device` on the card."""

    def upload(self, tensor: Tensor) -> Tensor:
        """As by way of pinned memory."""
        return OnCard(tensor.clone())

    def to_host(self, tensor: Tensor) -> Pending:
        """As into pinned memory."""
        assert isinstance(tensor, OnCard), "what is brought to the host is there"
        return Pending(tensor.host.clone(), None)

    @property
    def depth(self) -> int:
        """As of CUDA."""
        return 2


def pretended(dtype: torch.dtype = torch.float32) -> Pretended:
    """The card as a device."""
    return Pretended(CARD, dtype, 1)


def _waits(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str | None:
    """Why the host would wait, if it would."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, OnCard)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnCard)]
    packet = func.overloadpacket
    if packet is aten._to_copy:
        to = kwargs.get("device")
        return "a copy that waits" if to is not None and (to.type == "meta") != bool(there) else None
    if not there:
        return None
    if packet in READING:
        return "a value is read"
    if packet in INDEXING and any(tensor.dtype is torch.bool for tensor in tree_leaves(args[1]) if tensor is not None):
        return "a mask is counted"
    if packet in PUTTING and args[2].number:
        return "a number is copied to the card to be put at places"
    if here and (packet in INDEXING or packet is aten.copy_ or any(tensor.dim() for tensor in here)):
        return "a tensor of the host among those of the card"
    return None


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    wrappers: dict[int, OnCard] = {}

    def real(leaf: Any) -> Any:
        if isinstance(leaf, OnCard):
            wrappers[id(leaf.host)] = leaf
            return leaf.host
        return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == "meta" else leaf

    to = kwargs.get("device")
    args, kwargs = tree_map(real, (args, kwargs))
    on_card = to.type == "meta" if to is not None else bool(wrappers)
    found = func(*args, **kwargs)
    if not on_card:
        return found

    def wrapped(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return wrappers[id(leaf)] if id(leaf) in wrappers else OnCard(leaf)

    found = tree_map(wrapped, found)
    if func.overloadpacket is aten.scalar_tensor:
        found.number = True
    return found
