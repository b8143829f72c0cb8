"""Which of several ways to compute is the fastest where a model runs: all thresholds, in one table with their reasons.

They were measured once, on the processors that are named; scripts/bench/README.md says more. Measuring them at each
start would take longer than the start, and would now and then choose the wrong way on a machine that others use too.
"""

from dataclasses import dataclass

NEVER = 1 << 44
"""More rows, tokens, images or numbers than any step has; times a layer's width it is still an integer of 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """The thresholds of a kind of processor, in a number type. Rows are those of a product: texts times tokens, say."""

    fused: bool = False
    """Whether a linear layer is one operation of oneDNN's, its bias and activation included."""
    reorders_all: bool = False
    """Of fused layers, whether all have their weight in oneDNN's own order, rather than those that ask for it."""
    few_rows: int = 0
    """Up to so many rows, a layer that is not fused is computed by oneDNN too, from the weight as it is in the file."""
    slow_from: int = NEVER
    slow_plain_from: int = NEVER
    slow_to: int = NEVER
    """Between the first and the third, layers that do not widen are slow, and multiplied in parts of fewer rows. The
    second is the first's for weights that are not reordered."""
    products_from: int = NEVER
    """Numbers in the queries, times keys, from which attention is products and a softmax, rather than torch's."""
    scores_a_thread: int = NEVER
    """Of such attention, the queries times keys that a thread computes at once."""
    padded_from: int = NEVER
    """Tokens of an image from which they are padded to a multiple of four."""
    images_in_a_product: int = NEVER
    """Images that a text attends to without projecting them, in one product."""
    folded: int = 64
    """Tokens of text in a step up to which an image is not projected. Beyond that, projecting it is faster.

    On 2 cores at 384 px both take the same time near 65 tokens in float32, and in bfloat16 without tiles.
    """
    many_images: int = 4
    """Images in a step from which a text that is being written attends to their tokens without projecting them.

    Each layer reads its own keys and values of an image from memory; the tokens are the same for all layers. On 2 cores
    with AMX, a step's cross-attention to 1, 4 and 16 images (ViT-B, 384 px, bfloat16) takes 1.7, 6.0 and 35 ms when
    they are projected, and 3.2, 6.2 and 16 ms when they are not. The projection itself takes 6 ms an image.
    """
    images_at_once: int = 4
    """Images that pass through a vision tower together. Four keep a CPU busy, and their activations stay small."""


TILES = Kernels(
    fused=True,
    # oneDNN leaves one of two cores idle in layers that do not widen: 1.2 instead of 2.3 TFLOP/s (768 to 768 and 3072
    # to 768). Reordered weights make it up to 1.2 times as fast on the rows of an image in a layer that widens, but up
    # to 1.8 times as slow in one that does not.
    slow_from=448,
    slow_plain_from=640,
    slow_to=1400,
    # It compiles code for every number of images and of tokens, and keeps it: 95 MB less with the embedded checkpoint.
    images_in_a_product=4,
    folded=32,  # both take the same time near 30 tokens
)
"""bfloat16 on a CPU that multiplies it in tiles: two Xeon cores with AMX."""
VECTORS = Kernels(
    fused=True,
    reorders_all=True,  # 1.1 to 1.9 times as fast in every layer, and no number of rows is slow
    products_from=2**17,  # torch's attention, which uses MKL, takes 7.8 instead of 3.2 ms a layer for an image
    scores_a_thread=2**19,  # their scores are a megabyte, and stay in the core's cache: up to 5% of the tower
    padded_from=512,  # 577 rows, a prime number, take 5% longer, four times as many 2%; 401 and fewer no longer
    images_in_a_product=4,
)
"""bfloat16 on a CPU that multiplies it in vectors (AVX512-BF16): two Zen 5 cores."""
AVX2 = Kernels(
    # MKL hardly uses a second core for few rows. Twelve layers of 12 rows, 768 to 2304, 768 to 768, 768 to 3072, 3072
    # to 768, take 13.9, 4.8, 26 and 13 ms instead of 23.0, 5.5, 32 and 20; of one row 8.0, 2.9, 8.5 and 6.4 instead of
    # 9.2, 3.2, 10.7 and 8.8. From 256 rows on MKL is as fast, with the rows of an image it is faster. oneDNN keeps 0.6
    # MB of code for each number of rows and each of five shapes: 190 MB at most, as long as rows are few.
    few_rows=64,
)
"""float32 on a CPU that has no AVX-512: two Zen 3 cores."""
OTHER = Kernels()
"""Any other CPU and number type. In float32 with AVX-512 oneDNN gains nothing, and one row takes 1.2 times as long."""
CUDA = Kernels(folded=32, images_at_once=64)
"""A CUDA device. Its thresholds are reasoned, not measured."""
