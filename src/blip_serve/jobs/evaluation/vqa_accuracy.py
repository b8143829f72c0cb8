"""The official accuracy of visual question answering. Knows no model and no files.

Source: GT-Vision-Lab/VQA:PythonEvaluationTools/vqaEvaluation/vqaEval.py, whose values it equals, also where these are
odd: `tests/jobs/evaluation/vqa_accuracy.json` holds some hundred that the official code gave. The words are VQA's.
"""

import re
from collections.abc import Sequence

AGREED = 3
"""People who gave an answer, beside the one left out, for it to be wholly right."""

_APART = tuple(';/[]"{}()=+\\_-><@`,?!')
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32
"""The official code passes a flag where `re.sub` takes the count: no more periods than these are taken out."""
_ARTICLES = frozenset(("a", "an", "the"))
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_DIGITS)}
_CONTRACTED = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's I'm "
    "I've isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've "
    "shouldn't somebody'll someone'd someone'll someone's something'd something'll that's there'd there're there's "
    "they'd they'll they're they've wasn't we've weren't what'll what're what's what've when's where'd where's "
    "where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"
)
_TWICE = (
    "couldn't've hadn't've he'd've it'd've mightn't've shouldn't've someone'd've something'd've there'd've they'd've "
    "who'd've wouldn't've you'd've"
)
_OTHERS = {
    "I'dve": "I'd've",
    "Id've": "I'd've",
    "shed've": "she'd've",
    "she'dve": "she'd've",
    "wed've": "we'd've",
    "we'dve": "we'd've",
    "somebody'd": "somebodyd",
    "somebodyd've": "somebody'd've",
    "somebody'dve": "somebody'd've",
    "somebodys": "somebody's",
    "twas": "'twas",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


def _contractions() -> dict[str, str]:
    """By how people leave apostrophes out: all of them, and of two either."""
    found = {word.replace("'", ""): word for word in _CONTRACTED.split()}
    for word in _TWICE.split():
        first, second, third = word.split("'")
        found |= {f"{first}{second}'{third}": word, f"{first}'{second}{third}": word}
    return found | _OTHERS


_CONTRACTIONS = _contractions()


def accuracy(answer: str, given: Sequence[str]) -> float:
    """How right an answer is, 0..1. `given`: the answers that people gave, ten in VQA.

    For each of these left out in turn, a third for each of the others that is the same, at most 1; the mean of it.
    Answers are compared as `compared` spells them, but as they are if all people gave the same.
    """
    answer, given = _plain(answer), [_plain(each) for each in given]
    if len(set(given)) > 1:
        spelled = {each: compared(each) for each in {answer, *given}}
        answer, given = spelled[answer], [spelled[each] for each in given]
    same = [each == answer for each in given]
    return sum(min(1.0, (sum(same) - own) / AGREED) for own in same) / len(same)


def compared(answer: str) -> str:
    """An answer as it is compared: no punctuation and no articles, numbers in digits, contractions with apostrophes."""
    words = [_NUMBERS.get(word, word) for word in _without_punctuation(answer).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _plain(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(answer: str) -> str:
    """Marks at a word's end go, those inside of one leave a blank."""
    found = answer
    number = _COMMA_IN_NUMBER.search(answer) is not None
    for mark in (each for each in _APART if each in answer):
        goes = number or f"{mark} " in answer or f" {mark}" in answer
        found = found.replace(mark, "" if goes else " ")
    return _PERIOD.sub("", found, count=_PERIODS)
