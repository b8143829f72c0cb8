"""`POST /v1/embeddings`."""

from collections.abc import Sequence

from pydantic import BaseModel

from blip_serve.domain import Caption
from blip_serve.remote.answers import Answer, InputUsage, Number
from blip_serve.remote.call import Body, Call, WrongShape, renamed
from blip_serve.remote.images import address_of
from blip_serve.tasks.embed import EmbedRequest, EmbedResult
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.request import Served


class Embedding(BaseModel):
    """One vector."""

    index: int
    embedding: list[Number]


class EmbedAnswer(Answer):
    """The vectors."""

    usage: InputUsage
    data: list[Embedding]


def _body(request: EmbedRequest) -> Body:
    inputs = {"input": [_entry(each) for each in request.inputs], "encoding_format": "float"}
    return inputs if request.dimensions is None else {**inputs, "dimensions": request.dimensions}


def _entry(given: Input) -> dict[str, str]:
    return {"text": given.text} if isinstance(given, Caption) else {"image": address_of(given)}


def _rename(request: EmbedRequest, param: str) -> str:
    inputs = {f"input[{i}]": given.param for i, given in enumerate(request.inputs)}
    return renamed(param, inputs | {"dimensions": request.dimensions_param})


def _images(request: EmbedRequest) -> Sequence[Input]:
    return request.inputs


def _result(request: EmbedRequest, answer: EmbedAnswer, served: Served) -> EmbedResult:
    if [each.index for each in answer.data] != list(range(len(request.inputs))):
        raise WrongShape("there is not one vector for each input")
    return EmbedResult(tuple(tuple(each.embedding) for each in answer.data), **served)


EMBED = Call("/v1/embeddings", _body, _rename, _images, EmbedAnswer, _result)
