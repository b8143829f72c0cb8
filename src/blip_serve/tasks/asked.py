"""Remembers which callers asked about which images.

A caller sees `cached_tokens` only for images of its own earlier requests.
"""

from collections import OrderedDict

MOST = 65_536
"""Remembered pairs of image and caller, about 30 MB. By default a model caches as many unit vectors."""


class Asked:
    """The callers that asked a model about an image since the model last encoded it.

    Other callers must not learn that the image was cached, because that would reveal another caller's request.
    Remembers at most `most` callers, counted over all images; forgets the least recently used images first.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._callers: OrderedDict[tuple[str, str], set[str]] = OrderedDict()
        self._count = 0

    def again(self, caller: str, model: str, digest: str, *, known: bool) -> bool:
        """Records a request. Returns whether `caller` may learn that the image was cached (`known`)."""
        callers = self._callers.pop((model, digest), set())
        self._count -= len(callers)
        if not known:
            callers.clear()  # the image is encoded again, for this caller
        told = caller in callers
        callers.add(caller)
        self._callers[model, digest] = callers
        self._count += len(callers)
        while self._count > self._most:
            self._count -= len(self._callers.popitem(last=False)[1])
        return told
