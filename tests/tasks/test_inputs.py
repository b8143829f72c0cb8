"""Every task refuses an empty request and names the field. Without HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from blip_serve.domain import Caption, GenerationOptions
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import Base64Image
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.decide import DecideRequest
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.generate import GenerateRequest
from blip_serve.tasks.match import MatchRequest
from blip_serve.tasks.questions import ChoiceQuestion, ScoreQuestion
from blip_serve.tasks.rerank import RerankRequest
from blip_serve.tasks.score import ScoreRequest
from blip_serve.tasks.service import Tasks
from tests.support.tasks import with_service

IMAGE, TEXT = Base64Image("aGVsbG8=", "image"), Caption("a dog", "caption")
MATCH = MatchRequest((IMAGE,), (TEXT,))
RERANK = RerankRequest(TEXT, (IMAGE, IMAGE))
SCORE = ScoreRequest((IMAGE,), (TEXT,))
WRITE = GenerateRequest(IMAGE, Caption("", "text"), GenerationOptions())

NOTHING: list[tuple[str, str, Callable[[Tasks], Awaitable[object]]]] = [
    ("no images", "images", lambda tasks: tasks.run(replace(MATCH, images=()))),
    ("no captions", "captions", lambda tasks: tasks.run(replace(MATCH, captions=()))),
    ("no pairs", "images", lambda tasks: tasks.run(MatchRequest((), (), "zip"))),
    ("no scores", "scores", lambda tasks: tasks.run(replace(MATCH, scores=frozenset()))),
    ("no inputs", "inputs", lambda tasks: tasks.run(EmbedRequest(()))),
    ("no images to rank", "documents", lambda tasks: tasks.run(replace(RERANK, documents=()))),
    ("no texts to rank", "documents", lambda tasks: tasks.run(RerankRequest(IMAGE, ()))),
    ("none of the best", "top_n", lambda tasks: tasks.run(replace(RERANK, top_n=0))),
    ("nothing shortlisted", "shortlist", lambda tasks: tasks.run(replace(RERANK, shortlist=0))),
    ("nothing to score", "first", lambda tasks: tasks.run(ScoreRequest((), ()))),
    ("no first to score", "first", lambda tasks: tasks.run(replace(SCORE, first=()))),
    ("no second to score", "second", lambda tasks: tasks.run(replace(SCORE, second=()))),
    ("no questions", "questions", lambda tasks: tasks.run(DecideRequest(IMAGE, ()))),
    ("no choices", "q.choices", lambda tasks: tasks.run(DecideRequest(IMAGE, (ChoiceQuestion("q", TEXT, ()),)))),
    ("no levels", "q.levels", lambda tasks: tasks.run(DecideRequest(IMAGE, (ScoreQuestion("q", TEXT, ()),)))),
    ("no texts", "n", lambda tasks: tasks.run(replace(WRITE, n=0))),
    ("no beams", "num_beams", lambda tasks: tasks.run(replace(WRITE, options=GenerationOptions(num_beams=0)))),
    ("no tokens", "limit", lambda tasks: tasks.run(replace(WRITE, options=GenerationOptions(0, "limit")))),
]


@pytest.mark.parametrize(("param", "ask"), [case[1:] for case in NOTHING], ids=[case[0] for case in NOTHING])
def test_a_request_of_nothing_names_its_field(param: str, ask: Callable[[Tasks], Awaitable[object]]) -> None:
    async def refused(tasks: Tasks) -> InvalidInput:
        with pytest.raises(InvalidInput) as found:
            await ask(tasks)
        return found.value

    error = with_service(FakeModel("match", "embed", "caption"), refused)
    assert (error.param, error.code) == (param, "invalid_value")
