"""The image cache: what the vision tower made of images, by the digest of their bytes, within two byte limits."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal
from weakref import WeakValueDictionary

from torch import Tensor

Need = Literal["tokens", "vector"]
"""What a work reads of an image: the token embeddings, or the unit vector."""
TOKENS: frozenset[Need] = frozenset({"tokens"})
"""What a work reads whose texts attend to the image."""

KeysAndValues = tuple[Tensor, Tensor]
"""One layer's cross-attention keys and values, (1, heads, N, D / heads) each."""


class ImageState:
    """One image's state, shared by all works on it.

    Until it is encoded it has `pixels`, (S, S, 3) bytes; after that `tokens` (N, D) and `vector` (E,) on the device.
    `projected`: each decoder layer's keys and values, kept while works that generate from the image exist.
    """

    __slots__ = ("__weakref__", "_lock", "digest", "encoding", "pixels", "projected", "tokens", "vector")

    def __init__(self, digest: str, tokens: Tensor | None, vector: Tensor | None) -> None:
        self.digest = digest
        self.tokens = tokens
        self.vector = vector
        self.pixels: Tensor | None = None
        self.projected: list[KeysAndValues] | None = None
        self.encoding = False
        self._lock = threading.Lock()

    def has(self, needs: frozenset[Need]) -> bool:
        """Whether all that `needs` names is encoded."""
        return (self.tokens is not None or "tokens" not in needs) and (self.vector is not None or "vector" not in needs)

    @property
    def to_encode(self) -> bool:
        """Whether the next `encode` step with it should encode it."""
        return self.pixels is not None and not self.encoding

    def read(self, needs: frozenset[Need]) -> bool:
        """Whether it need not be decoded, for what `needs` names."""
        return self.pixels is not None or self.has(needs)

    def fill(self, needs: frozenset[Need], decode: Callable[[], Tensor]) -> None:
        """Decodes the image, unless that is done. Another thread that asks meanwhile waits for the result."""
        with self._lock:
            if not self.read(needs):
                self.pixels = decode()


def encoded(tensor: Tensor | None) -> Tensor:
    """A tensor of an image's state. Raises `RuntimeError` if it is missing: works read it only after `encode`."""
    if tensor is None:
        raise RuntimeError("a work was scored before it was encoded")
    return tensor


class ByteBoundedCache:
    """Tensors by digest, of at most `limit` bytes together. The least recently used are dropped first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self.size = 0

    def get(self, digest: str) -> Tensor | None:
        """The tensor, or `None`. It becomes the most recently used."""
        if digest in self._kept:
            self._kept.move_to_end(digest)
        return self._kept.get(digest)

    def put(self, digest: str, tensor: Tensor) -> None:
        """Keeps a tensor, unless it is larger than the limit."""
        if digest in self._kept or tensor.nbytes > self._limit:
            return
        self._kept[digest] = tensor
        self.size += tensor.nbytes
        while self.size > self._limit:
            self.size -= self._kept.popitem(last=False)[1].nbytes


class ImageCache:
    """Finds or makes the state of an image.

    Works hold the states that they use, and `find` returns a state in use to all who ask for its image. So an image
    is decoded and encoded once, and stays while it is used, however full the caches are.
    """

    def __init__(self, tokens_bytes: int, vectors_bytes: int) -> None:
        self._lock = threading.Lock()
        self._used: WeakValueDictionary[str, ImageState] = WeakValueDictionary()
        self.tokens = ByteBoundedCache(tokens_bytes)
        self.vectors = ByteBoundedCache(vectors_bytes)

    def find(self, digest: str) -> ImageState:
        """The image's state: the one in use, or a new one with what the caches have."""
        with self._lock:
            tokens, vector = self.tokens.get(digest), self.vectors.get(digest)  # now the most recently used
            state = self._used.get(digest)
            if state is None:
                state = self._used[digest] = ImageState(digest, tokens, vector)
            return state

    def keep(self, state: ImageState, tokens: Tensor, vector: Tensor | None, *, sound: bool = True) -> None:
        """Writes an encoding to the state and the caches, and drops the pixels.

        An encoding that is not `sound` is given to the works that wait for it, but is not kept.
        """
        with self._lock:
            state.tokens, state.vector, state.pixels = tokens, vector, None
            if not sound:
                self._used.pop(state.digest, None)
                return
            self.tokens.put(state.digest, tokens)
            if vector is not None:
                self.vectors.put(state.digest, vector)
