"""oneDNN's bfloat16 on CPUs where oneDNN refuses it: its own float32, with results rounded as bfloat16's are.

This is what the hardware does: it multiplies what is exact in float32, sums in float32 and rounds once. torch's
dispatcher is where the operators are exchanged, so that TorchScript meets them too.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
import torch
from torch import Tensor
from torch.library import Library, get_kernel

from blip_serve.models import device
from blip_serve.models.device import Bfloat16

OPERATORS = {
    "mkldnn::_reorder_linear_weight": ("CPU",),
    "mkldnn::_linear_pointwise": ("CPU", "MkldnnCPU"),
    "aten::_softmax": ("MkldnnCPU",),
}
"""What the fused layers ask of oneDNN, and the kinds of tensor they hand it."""


HAS_BFLOAT16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
"""Whether oneDNN has bfloat16 on this CPU."""


@contextmanager
def multiplying(by: Bfloat16) -> Iterator[None]:
    """Models loaded inside use this emulation of bfloat16. Run them inside too."""
    with pytest.MonkeyPatch.context() as patch, nullcontext() if HAS_BFLOAT16 else emulated():
        patch.setattr(device, "BFLOAT16", by)
        yield


@contextmanager
def emulated() -> Iterator[None]:
    """Has oneDNN's bfloat16 emulated in all threads; float32 is left as it is."""
    libraries = []
    try:
        for name, kinds in OPERATORS.items():
            library = Library(name.partition("::")[0], "IMPL")  # type: ignore[no-untyped-call]
            libraries.append(library)
            for kind in kinds:
                with catch_warnings():
                    simplefilter("ignore", UserWarning)  # torch's, of operators that are overridden
                    library.impl(  # type: ignore[no-untyped-call]
                        name, _in_float32(name, kind), kind, with_keyset=True, allow_override=True
                    )
        yield
    finally:
        for library in libraries:
            library._destroy()  # type: ignore[no-untyped-call]


def _in_float32(name: str, kind: str) -> Any:
    kernel = get_kernel(name, torch._C._dispatch_key_parse(kind))

    def compute(keys: Any, x: Tensor, *others: Any, **named: Any) -> Tensor:
        found: Tensor = kernel.call_boxed(keys, _widened(x), *map(_widened, others), **named)
        if name == "mkldnn::_reorder_linear_weight":
            return found  # bfloat16's numbers, in the order that float32's operators read
        return _to(found, x.dtype)

    return compute


def _widened(x: Any) -> Any:
    return _to(x, torch.float32) if isinstance(x, Tensor) else x


def _to(x: Tensor, dtype: torch.dtype) -> Tensor:
    if x.dtype is dtype or not x.is_mkldnn:
        return x.to(dtype)
    return x.to_dense().to(dtype).to_mkldnn()
