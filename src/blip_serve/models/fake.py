"""`FakeModel`: a model without weights, for tests and for measuring the service around a model. Imports no torch.

Its answers are computed from digests of image and text: equal inputs get equal answers, on every machine.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from blip_serve.domain import (
    IMAGE_COST,
    Caption,
    Done,
    EmbedItem,
    ExplainItem,
    Explanation,
    GeneratedText,
    GenerateItem,
    ImageBytes,
    Item,
    MatchItem,
    MatchScores,
    Outcome,
    Piece,
    Prepared,
    Progress,
    RankItem,
    Task,
    TokenLogprob,
    WordMap,
    Work,
    image_of,
)

IMAGE_TOKENS = 10
KNOWN_IMAGES = 1024
CAPTIONS_A_WORK = 64
VECTOR_WIDTH = 4
WORDS = ("a", "red", "blue", "dog", "cat", "ball", "on", "grass")
Call = Literal["admit", "launch", "collect", "release"]
"""What the engine calls on the device thread."""
TEXT_WORDS = 6
"""Words of a generated text, unless `max_tokens` ends it earlier."""


@dataclass(eq=False, slots=True, kw_only=True)
class FakeWork(Work):
    """A work with a plan of its outcomes; the last one ends it. `slot`: whether it holds a slot between its steps."""

    plan: deque[Outcome] = field(default_factory=lambda: deque([Done(None)]))
    slot: bool = False

    @property
    def slot_count(self) -> int:
        """One, if it holds any."""
        return int(self.slot)


class FakeModel:
    """Follows its works' plans. While `open` is clear, the device hangs in the call named by `held`.

    `on_launch` may raise to fail a step. `on_decode` gets each image that is not known, on the thread that prepares
    its item.
    """

    def __init__(
        self,
        *tasks: Task,
        step_seconds: float = 0.0,
        depth: int = 1,
        slots: int = 8,
        held: Call = "launch",
        on_launch: Callable[[Sequence[FakeWork]], None] = lambda works: None,
        on_decode: Callable[[ImageBytes], None] = lambda image: None,
    ) -> None:
        """`tasks`: what it can be asked; without any, `match`, `embed` and `explain`."""
        self.tasks: frozenset[Task] = frozenset(tasks or ("match", "embed", "explain"))
        self.depth = depth
        self.open = threading.Event()
        self.open.set()
        self.steps: list[list[tuple[str, int, int]]] = []  # each step's works: phase, cost, length
        self.free_slots = slots
        self._held = held
        self._step_seconds = step_seconds
        self._on_launch = on_launch
        self._on_decode = on_decode
        self._decoded: OrderedDict[str, None] = OrderedDict()

    def known(self, item: Item) -> object | None:
        """The image, if it is one of the last `KNOWN_IMAGES` decoded."""
        image = image_of(item)
        return None if image is None or image.digest not in self._decoded else image

    def missing(self, tasks: Sequence[Task]) -> Callable[[], object] | None:
        """Nothing."""
        return None

    def prepare(self, item: Item) -> Prepared:
        """Works that encode the image, if any; then scores, a vector, likelihoods, or a text word by word."""
        if self.known(item) is None:
            self._decode(image_of(item))
        match item:
            case MatchItem(image, captions):
                return _prepared(captions, _pieces([_score(image, caption) for caption in captions]))
            case RankItem(image, question, answers):
                pieces = _pieces([-10 * _number(image.digest, question.text, answer.text) for answer in answers])
                return _prepared((question, *answers), pieces)
            case GenerateItem():
                return _prepared((item.text,), [_writing(item, choice) for choice in range(item.n)], slot=True)
            case ExplainItem(image, captions):
                found = list(enumerate(_explanation(item, caption) for caption in captions))
                return _prepared(captions, [[Progress("explain", 4), Done((each,))] for each in found])
            case EmbedItem(ImageBytes(digest=digest)):
                return _prepared((), [[Progress("embed", 1), Done(((0, _vector(digest)),))]])
            case EmbedItem(Caption(text)):
                work = FakeWork(phase="embed", cost=1, plan=deque([Done(((0, _vector(text)),))]))
                return Prepared((work,), text_tokens=(len(text.split()),))
        raise TypeError(item)

    def _decode(self, image: ImageBytes | None) -> None:
        if image is not None:
            self._on_decode(image)
            self._decoded[image.digest] = None
            if len(self._decoded) > KNOWN_IMAGES:
                self._decoded.popitem(last=False)

    def warm_up(self) -> Item:
        """Any item."""
        return MatchItem(ImageBytes(b"", "warm-up", "image"), (Caption("warm-up", "caption"),))

    def admit(self, work: FakeWork) -> bool:
        """Takes a slot for a work that needs one."""
        self.enter("admit")
        if not work.slot:
            return True
        if not self.free_slots:
            return False
        self.free_slots -= 1
        return True

    def release(self, work: FakeWork) -> None:
        """Frees its slot."""
        self.enter("release")
        self.free_slots += work.slot

    def launch(self, works: Sequence[FakeWork]) -> Sequence[FakeWork]:
        """Takes `step_seconds`, after any hold."""
        self.steps.append([(work.phase, work.cost, work.length) for work in works])
        self.enter("launch")
        self._on_launch(works)
        time.sleep(self._step_seconds)
        return works

    def collect(self, launched: Sequence[FakeWork]) -> list[Outcome]:
        """The next outcome of each work's plan."""
        self.enter("collect")
        return [work.plan.popleft() for work in launched]

    def enter(self, call: Call) -> None:
        """Each call on the device thread begins with this. Tests may make it raise."""
        if call == self._held:
            self.open.wait()


def _prepared(texts: Sequence[Caption], plans: Sequence[Sequence[Outcome]], slot: bool = False) -> Prepared:
    works = [FakeWork(phase="encode", cost=IMAGE_COST, plan=deque(plan), slot=slot) for plan in plans]
    first: dict[str, int] = {}
    alike = tuple(first.setdefault(text.text, i) for i, text in enumerate(texts))
    return Prepared(tuple(works), IMAGE_TOKENS, 0, tuple(len(text.text.split()) for text in texts), alike)


def _pieces(results: Sequence[object]) -> list[list[Outcome]]:
    numbered = list(enumerate(results))
    pieces = [tuple(numbered[i : i + CAPTIONS_A_WORK]) for i in range(0, len(numbered), CAPTIONS_A_WORK)]
    return [[Progress("score", len(piece)), Done(piece)] for piece in pieces]


def _writing(item: GenerateItem, choice: int) -> list[Outcome]:
    """A step for each word, and one for the end unless `max_tokens` comes first."""
    options = item.options
    count = options.max_tokens if options.ignore_eos else min(TEXT_WORDS, options.max_tokens)
    numbers = [_number(item.image.digest, item.text.text, f"{choice} {i}") for i in range(count)]
    said = [WORDS[int(number * len(WORDS))] for number in numbers]
    texts = [" " + word if i or item.text.text else word for i, word in enumerate(said)]
    logprobs = None if options.top_logprobs is None else tuple(TokenLogprob(text, -0.5) for text in texts)
    ended = count < options.max_tokens
    result = GeneratedText(item.text.text + "".join(texts), "stop" if ended else "length", count + ended, logprobs)
    texts[0] = item.text.text + texts[0]
    pieces = [Piece(choice, text, logprobs and (logprobs[i],)) for i, text in enumerate(texts)]
    last = Piece(choice, "", None, result.finish_reason)
    return [
        Progress("decode", 1),
        *(Progress("decode", 1, (piece,)) for piece in pieces),
        Done(((choice, result),), (last,)),
    ]


def _score(image: ImageBytes, caption: Caption) -> MatchScores:
    number = _number(image.digest, caption.text)
    return MatchScores((0.5 - number, number - 0.5), number, 2 * number - 1)


def _explanation(item: ExplainItem, caption: Caption) -> Explanation:
    """One map of 2 x 2 for the whole caption."""
    low = _number(item.image.digest, caption.text, "low")
    words = (WordMap(caption.text, 0, len(caption.text), ((low, 1.0), (0.0, low)), 0.5),)
    scores = _score(item.image, caption)
    layer = 0 if item.layer is None else item.layer
    return Explanation(item.method or "gradcam", layer, (64, 64), words, scores.itm_logits, scores.itm_score)


def _vector(text: str) -> tuple[float, ...]:
    numbers = [_number(text, str(i)) - 0.5 for i in range(VECTOR_WIDTH)]
    length = math.hypot(*numbers)
    return tuple(number / length for number in numbers)


def _number(*parts: str) -> float:
    """A number in 0..1, the same for the same parts."""
    return int.from_bytes(sha256(" ".join(parts).encode()).digest()[:4]) / 2**32
