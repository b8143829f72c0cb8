"""Who has asked about which images: what the image cache saved is told to those only whose own requests filled it."""

from collections import OrderedDict

MOST = 65_536
"""Callers of images that are remembered, some 30 MB: as many as unit vectors are kept of one model by default."""


class Asked:
    """The callers that asked a model about an image since it was last encoded.

    Whoever is not among them is told that nothing was saved: that the image was there would tell of another's request.
    Forgets the image that was asked about longest ago, once it remembers more than `most` callers.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._callers: OrderedDict[tuple[str, str], set[str]] = OrderedDict()
        self._count = 0

    def again(self, caller: str, model: str, digest: str, *, known: bool) -> bool:
        """Notes a request; whether `caller` may be told that the image was `known`."""
        callers = self._callers.pop((model, digest), set())
        self._count -= len(callers)
        if not known:
            callers.clear()  # it is encoded anew, for this one
        told = caller in callers
        callers.add(caller)
        self._callers[model, digest] = callers
        self._count += len(callers)
        while self._count > self._most:
            self._count -= len(self._callers.popitem(last=False)[1])
        return told
