"""Seeds of what is drawn by lot: one a row, so that a resumed run draws what an undisturbed one would."""

from dataclasses import replace
from hashlib import sha256

from blip_serve.domain import GenerationOptions


def row_seed(run_seed: int, key: str) -> int:
    """32 bits of SHA-256 of the run's seed and the row's key. `GenerationOptions.seed` has room for 64."""
    return int.from_bytes(sha256(f"{run_seed}\n{key}".encode(errors="surrogatepass")).digest()[:4])


def seeded(options: GenerationOptions, run_seed: int, key: str) -> GenerationOptions:
    """The options with the row's seed, if anything is drawn. All `n` texts of a row share it."""
    return replace(options, seed=row_seed(run_seed, key)) if options.temperature > 0 else options
