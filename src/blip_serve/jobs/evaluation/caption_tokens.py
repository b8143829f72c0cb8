"""Cuts captions into words as COCO's evaluation does: by Stanford's tokenizer if Java is there, else much like it.

Source: tylin/coco-caption:pycocoevalcap/tokenizer/ptbtokenizer.py, which calls Stanford's `PTBTokenizer` (CoreNLP
3.4.1, `-preserveLines -lowerCase`) and takes marks out. The package pycocoevalcap brings both.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

JAR = "stanford-corenlp-3.4.1.jar"
MAIN = "edu.stanford.nlp.process.PTBTokenizer"
TIMEOUT_S = 600
MARKS = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))
"""Taken out (`PUNCTUATIONS` there, without its brackets: it means to, but these come as `-lrb-`, in lower case)."""

_PLAIN = str.maketrans(
    {
        '"': "'",
        "\u201c": "'",
        "\u201d": "'",
        "\u2018": "'",
        "\u2019": "'",
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": " ... ",
    }
)
"""Quotation marks, dashes and dots to those of ASCII."""
_JOINED = {"cannot": "can not", "gonna": "gon na", "wanna": "wan na", "gotta": "got ta", "gimme": "gim me",
           "lemme": "lem me"}  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_TOKEN = re.compile(
    r"https?://\S+"
    r"|(?:mr|mrs|ms|dr|st|vs|jr|sr|inc|co|ave|blvd|rd|etc)\.(?!\w)|(?:[a-z]\.){2,}"
    r"|\d+(?:[.,:]\d+)+(?!\w)"
    r"|\w+(?:[-'/.]\w+)*"
    r"|\.{2,}|[!?]+|-{2,}|\S"
)
_SUFFIX = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))$")


class JavaFailed(OSError):
    """Stanford's tokenizer ended with an error, or not at all."""


def by_stanford(captions: Sequence[str], java: str, jar: Path) -> list[str]:
    """Each caption's words, with blanks between them. `java`: the program. Raises `JavaFailed`."""
    lines = [" ".join(caption.split()) for caption in captions]
    command = [java, "-Dfile.encoding=UTF-8", "-cp", str(jar), MAIN, "-preserveLines"]
    text = "\n".join(lines) + "\n"
    try:
        ran = subprocess.run(
            [*command, "-lowerCase"], input=text.encode(), capture_output=True, check=True, timeout=TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise JavaFailed(f"Stanford's tokenizer failed: {said}") from None
    except subprocess.TimeoutExpired:
        raise JavaFailed(f"Stanford's tokenizer took over {TIMEOUT_S} s") from None
    found = ran.stdout.decode().split("\n")[: len(lines)]
    if len(found) < len(lines):
        raise JavaFailed("Stanford's tokenizer gave fewer captions than it read")
    return [_unmarked(line.split()) for line in found]


def without_java(captions: Sequence[str]) -> list[str]:
    """The same by rules of our own. Plain sentences come out alike; unusual ones may not.

    What differs: apostrophes that begin or end a word, addresses, emoticons, rare abbreviations.
    """
    return [_unmarked(_words(caption.lower().translate(_PLAIN))) for caption in captions]


def _words(caption: str) -> list[str]:
    found: list[str] = []
    for token in _TOKEN.findall(caption):
        suffix = _SUFFIX.search(token)
        stem = token[: suffix.start()] if suffix else token
        found += _JOINED.get(stem, _BRACKETS.get(stem, stem)).split()
        found += [suffix.group()] if suffix else []
    return found


def _unmarked(tokens: Sequence[str]) -> str:
    return " ".join(token for token in tokens if token not in MARKS)
