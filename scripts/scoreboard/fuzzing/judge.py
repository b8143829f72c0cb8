"""Checks that a response is valid, for any request."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

OURS = re.compile(
    r"Traceback|\.py\b|site-packages|/(usr|home|work|tmp|root|opt)/|\bPIL\b|Pillow|cannot identify|"
    r"\btorch\b|\bpydantic\b|object at 0x|Error\(|Exception"
)
"""Words of an implementation, which no message may hold."""
FIELDS = {"message", "type", "param", "code"}
KEPT = 20


@dataclass(slots=True)
class Judge:
    """Counts answers, and keeps the first that were wrong, each with what was sent."""

    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    overloaded: int = 0
    server_errors: int = 0
    broken: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """All that were sent."""
        return self.statuses.total() + self.unanswered

    def answered(self, sent: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Judges an answer; `headers` by lower-case name."""
        self.statuses[status] += 1
        if not headers.get("x-request-id"):
            self._note_broken(sent, status, "no x-request-id")
        if status < 400:
            return
        fault, code = _fault(body)
        if status == 429:  # no fault, but counted by itself
            self.overloaded += 1
        elif status >= 500:
            self.server_errors += 1
            self.wrong.append(f"{status} {body[:200]!r} to {sent[:400]}")
        if fault:
            self._note_broken(sent, status, fault)
        self.codes[code] += 1

    def lost(self, sent: str, why: Exception) -> None:
        """Notes a request that had no answer."""
        self.unanswered += 1
        self.wrong.append(f"{why!r} to {sent[:400]}")

    def _note_broken(self, sent: str, status: int, why: str) -> None:
        self.broken += 1
        self.wrong.append(f"{why} in {status} to {sent[:400]}")


def _fault(body: bytes) -> tuple[str, str]:
    """What is wrong with an error's body, if anything, and its code."""
    try:
        content = json.loads(body)
    except ValueError:
        return f"not JSON: {body[:100]!r}", ""
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, dict) or set(content) != {"error"} or set(error) != FIELDS:
        return f"no envelope: {body[:100]!r}", ""
    if not (isinstance(error["message"], str) and error["message"] and isinstance(error["type"], str)):
        return "no message or no type", ""
    if not isinstance(error["code"], str) or not isinstance(error["param"], str | None):
        return "no code, or a param that is no text", ""
    if found := OURS.search(error["message"]):
        return f"a message that says {found.group()!r}", error["code"]
    return "", error["code"]
