"""How often parts of a network compute, those in TorchScript included."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


@contextmanager
def counting(network: nn.Module) -> Iterator[Counter[str]]:
    """Counts, in this thread and while inside, runs of the vision tower and projections to keys and values (`seen`).

    In float32: fused layers are not `linear`s.
    """
    counted: Counter[str] = Counter()
    seen = [part.weight for name, part in network.named_modules() if name.endswith("crossattention.seen")]
    assert seen
    tower = network.get_submodule("vision_model")
    with (
        tower.register_forward_hook(lambda *_: counted.update(["vision_model"])),
        _Linears(lambda weight: counted.update("seen" for each in seen if _same(each, weight))),
    ):
        yield counted


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


class _Linears(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch annotates only half of it
    """Reports the weight of every linear layer that computes."""

    def __init__(self, tell: Callable[[torch.Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch annotates half of it
        self._tell = tell

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.linear.default:
            self._tell(args[1])
        return func(*args, **(kwargs or {}))
