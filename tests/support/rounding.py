"""How far results in float32 or bfloat16 may be from exact ones (those in float64), on any CPU.

A sum of float32 numbers depends on their order, on how many lanes a vector has, and on whether a product is rounded
before it is added: CPUs differ in all three, and none is wrong. So a bound cannot be one number seen on one machine; it
grows with the value, which is rounded in proportion, and with the number of summed terms, each of which is.
"""

import torch
from torch import Tensor

ORDER_ONE = 1e-5
"""What scores of order 1 are promised to be within: logits, probabilities, cosines, log-probabilities."""
RELATIVE = 1e-6
"""Of a larger value: 8 units in float32's last place, 2^-23 of a value.

Of likelihoods of -40 under AVX-512, AVX2 and SSE a hundredth to a quarter of it was seen, against float64.
"""


def allowed(exact: float, terms: int = 1) -> float:
    """For a score, or a sum of `terms` log-probabilities."""
    return max(ORDER_ONE * terms, RELATIVE * abs(exact))


def furthest(found: list[float], exact: list[float], terms: list[int] | None = None) -> float:
    """The largest difference, as a share of what is `allowed`: a test asserts that it is at most 1."""
    counts = terms or [1] * len(exact)
    return max(abs(a - b) / allowed(b, n) for a, b, n in zip(found, exact, counts, strict=True))


def unit(dtype: torch.dtype) -> float:
    """By how much of a number rounding to `dtype` changes it at most: 2^-24 in float32, 2^-9 in bfloat16."""
    return torch.finfo(dtype).eps / 2


def of_product(terms: int, sizes: Tensor) -> Tensor:
    """For sums of `terms` products in float32, whose absolute values sum to `sizes` (Higham 2002, section 3.1)."""
    return terms * unit(torch.float32) * sizes
