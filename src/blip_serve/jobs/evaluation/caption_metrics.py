"""The figures of captions as COCO's evaluation has them: BLEU, ROUGE-L, CIDEr, METEOR. Knows no model and no files.

They are those of the package pycocoevalcap (the extra `eval`), which is tylin/coco-caption for Python 3; BLIP's authors
report by it (salesforce/BLIP:data/utils.py:coco_caption_eval). Its tokenizer and its METEOR are Java programs. SPICE
is not measured: it downloads half a gigabyte when first called.

Sources: BLEU: Papineni et al. 2002, of the whole corpus, with the reference closest in length. ROUGE-L: Lin 2004.
CIDEr: Vedantam et al. 2015, its variant CIDEr-D with sigma 6. METEOR: Denkowski and Lavie 2014, version 1.5.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.caption_tokens import JAR, by_stanford, without_java

PACKAGE = "pycocoevalcap"
Captions = dict[str, list[str]]
"""By picture: its captions, each as words with blanks between them."""


@dataclass(frozen=True, slots=True)
class CaptionScorer:
    """Scores captions. `java`: the program, or `None` if it is not there; `jar`: Stanford's tokenizer."""

    java: str | None
    jar: Path

    def figures(self, references: Mapping[str, Sequence[str]], captions: Mapping[str, str]) -> dict[str, float]:
        """All figures, times 100 as papers print them. CIDEr can be above 100.

        `references`: by picture, at least one each; `captions`: one for each of these pictures. CIDEr weighs words by
        how few of the pictures have them, so it is 0 for a single one. Raises `OSError` if Java fails.
        """
        given = self._cut(references)
        found = self._cut({picture: [captions[picture]] for picture in references})
        bleu, _ = _made("bleu.bleu:Bleu", 4).compute_score(given, found, verbose=0)
        figures = {f"BLEU-{n}": float(score) for n, score in enumerate(bleu, 1)}
        figures["ROUGE-L"] = float(_made("rouge.rouge:Rouge").compute_score(given, found)[0])
        figures["CIDEr"] = float(_made("cider.cider:Cider").compute_score(given, found)[0])
        if self.java:
            figures["METEOR"] = _meteor(given, found)
        return {name: 100 * figure for name, figure in figures.items()}

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the figures."""
        if self.java:
            return ("Words: by Stanford's tokenizer, as COCO's evaluation has them.",)
        return (
            "Java is not here. Words: by rules of our own in place of Stanford's tokenizer, so that BLEU, ROUGE-L and "
            "CIDEr of captions with unusual marks differ a little from the official ones.",
            "METEOR needs Java: not measured.",
        )

    def _cut(self, captions: Mapping[str, Sequence[str]]) -> Captions:
        """All in one call: a JVM takes half a second to start."""
        every = [caption for several in captions.values() for caption in several]
        words = by_stanford(every, self.java, self.jar) if self.java else without_java(every)
        ends = accumulate((len(several) for several in captions.values()), initial=0)
        return {picture: words[start:end] for picture, (start, end) in zip(captions, pairwise(ends), strict=True)}


def caption_scorer(find: Callable[[str], str | None] = shutil.which) -> CaptionScorer:
    """Finds the package, and by `find` the program `java`. Raises `ConfigurationError` if the package is not there."""
    try:
        folder = Path(str(import_module(f"{PACKAGE}.tokenizer.ptbtokenizer").__file__)).parent
    except ImportError:
        raise ConfigurationError(f"captions: needs the package {PACKAGE}: pip install 'blip-serve[eval]'") from None
    return CaptionScorer(find("java"), folder / JAR)


def _made(path: str, *arguments: object) -> Any:
    """One of the package's scorers."""
    module, _, name = path.partition(":")
    return getattr(import_module(f"{PACKAGE}.{module}"), name)(*arguments)


def _meteor(given: Captions, found: Captions) -> float:
    meteor = _made("meteor.meteor:Meteor")
    try:
        return float(meteor.compute_score(given, found)[0])
    except (OSError, ValueError) as error:
        raise OSError(f"METEOR's Java program failed: {error}") from None
    finally:
        if meteor.lock.locked():  # interrupted or failed: its `__del__` would wait for it forever
            meteor.lock.release()
        meteor.meteor_p.kill()
        for stream in (meteor.meteor_p.stdin, meteor.meteor_p.stdout, meteor.meteor_p.stderr):
            with suppress(OSError):  # what is left cannot be written any more
                stream.close()
