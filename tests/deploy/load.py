"""A steady load from clients of two kinds: the OpenAI SDK as it comes, which retries, and a raw one, which does not."""

import base64
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
import openai

CLIENTS = 4
"""Of each kind."""
PAUSE_S = 0.02
TIMEOUT_S = 60.0
STEADY_S = float(os.environ.get("STEADY_S", "0"))
"""How long a load lasts at least, so that what happens under it has a before and an after."""
IMAGE = base64.b64encode(bytes(24 * 1024)).decode()  # larger than a balancer's buffer


@dataclass(frozen=True)
class Asked:
    """A request: its id, when it began and ended (monotonic seconds), and what went wrong, if anything."""

    id: str
    started: float
    ended: float
    fault: str | None


class Load:
    """Clients that ask one question after another while inside."""

    def __init__(self, url: str) -> None:
        self.sdk: list[Asked] = []
        self.raw: list[Asked] = []
        self._url = url
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._run_sdk, self._run_raw) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            threading.Event().wait(max(0.0, self._begun + STEADY_S - time.monotonic()))
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_S)
        assert not any(thread.is_alive() for thread in self._threads)

    def count(self) -> int:
        """Requests answered so far."""
        return len(self.sdk) + len(self.raw)

    def failed(self) -> dict[str, list[Asked]]:
        """The requests that went wrong, by kind of client."""
        return {kind: [asked for asked in found if asked.fault] for kind, found in self._found()}

    def report(self, title: str) -> None:
        """Prints what was seen."""
        for kind, found in self._found():
            seconds = [asked.ended - asked.started for asked in found]
            failed = sum(asked.fault is not None for asked in found)
            print(
                f"{title}, {kind}: {len(found)} requests in {time.monotonic() - self._begun:.0f} s, {failed} failed, "
                f"slowest {max(seconds):.2f} s"
            )

    def _found(self) -> list[tuple[str, list[Asked]]]:
        return [("sdk", self.sdk), ("raw", self.raw)]

    def _run_sdk(self) -> None:
        with openai.OpenAI(base_url=f"{self._url}/v1", api_key="unused", timeout=TIMEOUT_S) as client:
            self._repeat(self.sdk, lambda id: _embed(client, id))

    def _run_raw(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=TIMEOUT_S) as client:
            self._repeat(self.raw, lambda id: _match(client, id))

    def _repeat(self, found: list[Asked], ask: Callable[[str], str | None]) -> None:
        while not self._ended.wait(PAUSE_S):
            id, started = uuid.uuid4().hex, time.monotonic()
            try:
                fault = ask(id)
            except (openai.OpenAIError, httpx.HTTPError) as error:
                fault = repr(error)
            found.append(Asked(id, started, time.monotonic(), fault))


def _embed(client: openai.OpenAI, id: str) -> str | None:
    answer = client.embeddings.create(model="test/fake", input=["a"], extra_headers={"x-request-id": id})
    return None if answer.data else "no data"


def _match(client: httpx.Client, id: str) -> str | None:
    answer = client.post("/v1/match", json={"image": IMAGE, "caption": "a"}, headers={"x-request-id": id})
    return None if answer.status_code == 200 else f"{answer.status_code}: {answer.text}"
