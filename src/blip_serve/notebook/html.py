"""The HTML of each kind of result: its pictures, bars and heat. Styles are inline, and fit light and dark themes."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from blip_serve.domain import Caption, MatchScores
from blip_serve.notebook.album import MOST, SMALL, Album, Given, short
from blip_serve.notebook.markup import Html, tag
from blip_serve.tasks.decide import DecideResult
from blip_serve.tasks.embed import EmbedResult
from blip_serve.tasks.explain import ExplainResult
from blip_serve.tasks.generate import GenerateResult
from blip_serve.tasks.match import MatchPair, MatchResult
from blip_serve.tasks.questions import Answer, ChoiceAnswer, PredicateAnswer, PredicateQuestion, Question
from blip_serve.tasks.request import Result
from blip_serve.tasks.rerank import RankedDocument, RerankResult

BAR, TRACK = "#3b82c4", "rgba(128,128,128,.25)"
FAINT, BOLD, NUMBER = "opacity:.7", "font-weight:600", "font-variant-numeric:tabular-nums"
CELL = f"{NUMBER};text-align:right;padding:.1em .4em"


def match_html(images: Given, captions: Sequence[Caption], result: MatchResult) -> Html:
    """Each picture with a bar for each score of each caption."""
    album = Album(images)
    of_images = [list(pairs) for _, pairs in groupby(result.pairs, key=lambda pair: pair.image_index)]

    def beside(pairs: list[MatchPair]) -> Html:
        lines = (_pair(captions[pair.caption_index].text, pair) for pair in pairs[:MOST])
        return _beside(album.input(pairs[0].image_index), *lines, _more(len(pairs), "caption"))

    return _page(result, *map(beside, of_images[:MOST]), _more(len(of_images), "picture"))


def generate_html(image: Given, text: Caption, result: GenerateResult) -> Html:
    """The picture with what it was asked, and the texts."""
    asked = [tag("div", short(text.text), style=FAINT)] if text.text else []
    texts = [tag("div", short(each.text), style=BOLD) for each in result.texts[:MOST]]
    return _page(result, _beside(Album(image).input(0), *asked, *texts, _more(len(result.texts), "text")))


def embed_html(inputs: Given, result: EmbedResult) -> Html:
    """The inputs, with the cosine of each two."""
    album, vectors = Album(inputs), result.vectors[:MOST]
    numbers = [tag("th", str(i + 1), style=CELL) for i in range(len(vectors))]
    rows = [tag("tr", tag("th"), tag("th"), *numbers)]
    for i, vector in enumerate(vectors):
        cosines = (sum(a * b for a, b in zip(vector, other, strict=True)) for other in vectors)
        cells = (tag("td", f"{each:.2f}", style=f"{CELL};background:{_tint(each)}") for each in cosines)
        rows.append(tag("tr", numbers[i], tag("td", album.input(i, SMALL), style="text-align:left"), *cells))
    told = f"{len(result.vectors)} vectors of {len(result.vectors[0])} numbers; the cosine of each two"
    table = tag("table", *rows, style="border-collapse:collapse")
    return _page(result, tag("div", told), table, _more(len(result.vectors), "input"))


def rerank_html(inputs: Given, result: RerankResult) -> Html:
    """The query, which is the first input, and the documents in order with their scores."""
    album = Album(inputs)

    def line(rank: int, document: RankedDocument) -> Html:
        relevance = tag("div", f"{rank}. relevance {document.relevance:.4f}", style=NUMBER)
        return _beside(album.input(document.index + 1, SMALL), relevance, *_scores(document.score))

    lines = (line(*each) for each in enumerate(result.documents[:MOST], 1))
    query = tag("div", album.input(0, SMALL), style=BOLD)
    return _page(result, query, *lines, _more(len(result.documents), "document"))


def decide_html(image: Given, questions: Sequence[Question], result: DecideResult) -> Html:
    """The picture with a bar for the probability of each statement and of each option."""
    answered = list(zip(questions, result.answers, strict=True))
    lines = (line for each in answered[:MOST] for line in _answer(*each))
    return _page(result, _beside(Album(image).input(0), *lines, _more(len(answered), "question")))


def explain_html(images: Given, captions: Sequence[Caption], question: Caption | None, result: ExplainResult) -> Html:
    """For each picture and caption the heat of each word over the picture, below the question if there is one."""
    album, left, parts = Album(images), MOST, []
    for each in result.explanations:
        explanation = each.explanation
        words = explanation.words[:left]
        left -= len(words)
        figures = (album.heat(each.image_index, word.map, word.word, f"{word.maximum:#.3g}") for word in words)
        score = explanation.itm_score
        parts.append(
            tag(
                "div",
                tag("div", short(captions[each.caption_index].text), style=BOLD),
                tag("div", f"{explanation.method}, layer {explanation.layer}", style=FAINT),
                *([] if score is None else [tag("div", _bar("ITM", score), style="max-width:40em")]),
                tag("div", *figures, style="display:flex;flex-wrap:wrap;gap:.5em"),
                style="margin:.5em 0",
            )
        )
    words_in_all = sum(len(each.explanation.words) for each in result.explanations)
    asked = [] if question is None else [tag("div", short(question.text), style=FAINT)]
    return _page(result, *asked, *parts, _more(words_in_all, "word"))


def _page(result: Result, *parts: str) -> Html:
    served = tag("div", f"{result.model} ({result.protocol})", style=f"{FAINT};font-size:85%")
    return tag("div", served, *parts, style="font-family:system-ui,sans-serif;line-height:1.4")


def _beside(left: Html, *lines: str) -> Html:
    """A picture or a text, and lines at its right; on a narrow page below it."""
    right = tag("div", *lines, style="flex:1;min-width:14em;max-width:40em")
    return tag(
        "div", tag("div", left, style="min-width:8em"), right, style="display:flex;flex-wrap:wrap;gap:1em;margin:.5em 0"
    )


def _more(count: int, what: str) -> Html:
    """How many more there are than are shown."""
    more = count - MOST
    return tag("div", f"and {more} more {what}{'' if more == 1 else 's'}", style=FAINT) if more > 0 else Html()


def _pair(caption: str, pair: MatchPair) -> Html:
    told = [tag("div", f"error: {short(pair.error.message)}")] if pair.error else _scores(pair.score)
    return tag("div", tag("div", short(caption)), *told, style="margin-bottom:.4em")


def _scores(score: MatchScores) -> list[Html]:
    """Bars of the scores that there are. A cosine's goes from -1 to 1, from the zero mark in the middle."""
    probabilities = {"ITM": score.itm_score, "calibrated": score.calibrated_score}
    found = [_bar(name, value) for name, value in probabilities.items() if value is not None]
    cosine = score.cosine_score
    return found if cosine is None else [*found, _bar("cosine", cosine, 0.5 + min(cosine, 0) / 2, abs(cosine) / 2)]


def _bar(name: str, value: float, start: float = 0, length: float | None = None) -> Html:
    """A named bar with its number. `start`, `length`: parts of the track."""
    zero = "border-left:1px solid" if value >= 0 else "border-right:1px solid"
    width = value if length is None else length
    place = f"margin-left:{start:.1%};width:{width:.1%};height:.7em;background:{BAR};{zero};box-sizing:border-box"
    track = tag("div", tag("div", style=place), style=f"flex:1;background:{TRACK};overflow:hidden;border-radius:2px")
    label = tag("div", name, style="width:7em;overflow-wrap:anywhere;font-size:85%")
    number = tag("div", f"{value:.4f}", style=f"{NUMBER};width:4.5em;text-align:right")
    return tag("div", label, track, number, style="display:flex;align-items:center;gap:.5em")


def _answer(question: Question, answer: Answer) -> Iterable[Html]:
    """The question, and a bar for each of its probabilities."""
    if isinstance(question, PredicateQuestion):
        assert isinstance(answer, PredicateAnswer)
        return [tag("div", short(question.statement.text)), _bar("true", answer.probability)]
    assert not isinstance(answer, PredicateAnswer)
    said = str(answer.choice) if isinstance(answer, ChoiceAnswer) else f"level {answer.score:.2f}"
    head = tag("div", short(question.instructions.text), " ", tag("b", short(said)), style="margin-top:.4em")
    shares = list(zip(question.options, answer.probabilities, strict=True))
    bars = (_bar(short(str(option.value)), share) for option, share in shares[:MOST])
    return [head, *bars, _more(len(shares), "option")]


def _tint(cosine: float) -> str:
    return f"rgba(59,130,196,{max(cosine, 0) * 0.5:.2f})"
