"""`POST /v1/match`."""

from collections.abc import Sequence

from pydantic import BaseModel

from blip_serve.domain import MatchScores
from blip_serve.remote.answers import Answer, InputUsage, Number
from blip_serve.remote.call import Body, Call, WrongShape, renamed
from blip_serve.remote.errors import ErrorBody, error_from, kind_of_pair
from blip_serve.remote.images import address_of
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.match import MatchPair, MatchRequest, MatchResult
from blip_serve.tasks.request import Served


class Pair(BaseModel):
    """The scores of one pair."""

    image_index: int
    caption_index: int
    itm_score: Number | None = None
    itm_logits: tuple[Number, Number] | None = None
    cosine_score: Number | None = None
    calibrated_score: Number | None = None
    error: ErrorBody | None = None


class MatchAnswer(Answer):
    """The scores."""

    usage: InputUsage
    data: list[Pair]


def _body(request: MatchRequest) -> Body:
    return {
        "images": [address_of(image) for image in request.images],
        "captions": [caption.text for caption in request.captions],
        "pairing": request.pairing,
        "scores": sorted(request.scores),
        "on_error": request.on_error,
    }


def _rename(request: MatchRequest, param: str) -> str:
    images = {f"images[{i}]": image.param for i, image in enumerate(request.images)}
    captions = {f"captions[{i}]": caption.param for i, caption in enumerate(request.captions)}
    both = {"images": request.images[0].param.partition("[")[0]} if request.images else {}
    if request.captions:
        both["captions"] = request.captions[0].param.partition("[")[0]
    return renamed(param, both | images | captions)


def _images(request: MatchRequest) -> Sequence[Input]:
    return request.images


def _result(request: MatchRequest, answer: MatchAnswer, served: Served) -> MatchResult:
    images, captions = range(len(request.images)), range(len(request.captions))
    cross = request.pairing == "cross"
    wanted = [(i, c) for i in images for c in (captions if cross else (i,))]
    if [(pair.image_index, pair.caption_index) for pair in answer.data] != wanted:
        raise WrongShape("the pairs are others than those asked for")
    return MatchResult(tuple(_pair(request, pair) for pair in answer.data), **served)


def _pair(request: MatchRequest, pair: Pair) -> MatchPair:
    if pair.error is not None:
        error = error_from(pair.error, kind_of_pair(pair.error.code), lambda param: _rename(request, param))
        if request.on_error == "request":
            raise error
        return MatchPair(pair.image_index, pair.caption_index, error=error)
    score = MatchScores(pair.itm_logits, pair.itm_score, pair.cosine_score, pair.calibrated_score)
    found = {"itm": score.itm_score is not None, "cosine": score.cosine_score is not None}
    if not all(found[name] for name in request.scores):
        raise WrongShape("a score is missing")
    return MatchPair(pair.image_index, pair.caption_index, score)


MATCH = Call("/v1/match", _body, _rename, _images, MatchAnswer, _result)
