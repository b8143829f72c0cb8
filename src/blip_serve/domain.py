"""The nouns every layer shares: items (asked), works (scheduled), outcomes, and the Model protocol.

Knows no HTTP, no tensors and no scheduling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

ScoringProtocol = Literal["hf", "paper"]
Score = Literal["itm", "cosine"]
Task = Literal["match", "embed", "caption", "answer"]
FinishReason = Literal["stop", "length"]
ImageFormat = Literal["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "HEIC"]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority"]
"""How a request asks to be served, in OpenAI's words. `flex` is background work; all others are interactive."""
WorkClass = Literal["interactive", "background"]
"""How the engine schedules a work. Background works run when no interactive one waits, and have a small share."""

IMAGE_COST = 40
"""Cost of encoding an image. The unit is a caption of up to `CAPTION_TOKENS` tokens through the text tower once:
ViT-B at 384 px takes ~0.116 TFLOP, BERT-base with cross-attention ~0.2 GFLOP a token."""
PROJECTION_COST = 6
"""Cost of projecting one image to the cross-attention keys and values of a step (~0.016 TFLOP on ViT-B)."""
CAPTION_TOKENS = 15
"""Tokens that make one unit of cost."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request is answered for, and the models that may be used: names, or patterns such as `Salesforce/*`.

    `address`: where it calls from, if that is all that tells one caller from another. `flex_only`: its requests are
    background work; it may not ask for another service tier.
    """

    name: str
    models: tuple[str, ...] = ("*",)
    address: str = ""
    flex_only: bool = False


ANYONE = Caller("anyone")
"""Where no keys are asked for."""


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image file's bytes, not yet decoded. `digest` is the SHA-256 of `data`; `param` the request's field."""

    data: bytes
    digest: str
    param: str


@dataclass(frozen=True, slots=True)
class Caption:
    """A text as the client gave it, and the request's field it came from."""

    text: str
    param: str


@dataclass(frozen=True, slots=True)
class MatchItem:
    """One image to be scored against captions."""

    image: ImageBytes
    captions: tuple[Caption, ...]
    protocol: ScoringProtocol = "hf"
    scores: frozenset[Score] = frozenset({"itm", "cosine"})


@dataclass(frozen=True, slots=True)
class PairScore:
    """Scores of one image and one caption; `None` where not asked for.

    `itm_logits` are `[no match, match]`, `itm_score` their softmax at 1 (0..1), `cosine_score` is in -1..1.
    """

    itm_logits: tuple[float, float] | None = None
    itm_score: float | None = None
    cosine_score: float | None = None


@dataclass(frozen=True, slots=True)
class EmbedItem:
    """A text or an image to become a unit vector."""

    source: Caption | ImageBytes
    protocol: ScoringProtocol = "hf"


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How a text is generated; the defaults are the model cards': greedy, at most 20 new tokens.

    `max_tokens` counts what is generated, the end included, and not the prompt; `max_tokens_param` is the request's
    field. `min_tokens` must come before the end may; a stop string ends a text sooner. `temperature` 0 takes the
    likeliest token, whatever `top_k` (0: all tokens), `top_p` and `min_p`, which narrow what is drawn from in this
    order. Beams do not sample. `stop` strings end a text before them. `ignore_eos`: no token but the last of
    `max_tokens` ends it. `top_logprobs`: alternatives to list a token; `None`: no log-probabilities.
    """

    max_tokens: int = 20
    max_tokens_param: str = "max_tokens"
    min_tokens: int = 0
    ignore_eos: bool = False
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    num_beams: int = 1
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class GenerateItem:
    """`n` texts to be generated from an image.

    `text` is a caption's beginning (the output contains it; may be blank) or a question, as the model has it.
    `stream`: whether pieces are wanted as they come.
    """

    image: ImageBytes
    text: Caption
    n: int = 1
    options: GenerationOptions = GenerationOptions()
    protocol: ScoringProtocol = "hf"
    stream: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token as the text it adds, its natural log-probability, and the likeliest tokens in its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """One of an item's `n` texts. `tokens` counts what was generated, the end included."""

    text: str
    finish_reason: FinishReason
    tokens: int
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """More of the text number `choice` while it is generated; the last piece of each carries its `finish_reason`."""

    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class RankItem:
    """Texts about an image, to be given their likelihood: the summed natural log-probability of their tokens.

    `answers` answer `question`; of a captioning model it is the beginning (may be blank) that they go on from.
    `beginnings`: how likely an answer begins so, not that it ends there; each of them must then be a single token.
    """

    image: ImageBytes
    question: Caption
    answers: tuple[Caption, ...]
    protocol: ScoringProtocol = "hf"
    beginnings: bool = False


Item = MatchItem | EmbedItem | GenerateItem | RankItem


def image_of(item: Item) -> ImageBytes | None:
    """The item's image, if it has one."""
    if isinstance(item, EmbedItem):
        return item.source if isinstance(item.source, ImageBytes) else None
    return item.image


@dataclass(eq=False, slots=True, kw_only=True)
class Work:
    """What the engine schedules: one piece of an item, in the phase its next step belongs to.

    `cost` is that step's share of `max_step_cost`, in captions; works of like `length` (tokens) go together.
    A model subclasses it with what its steps need; the engine writes only `phase` and `cost`, from `Progress`.
    """

    phase: str
    cost: int
    length: int = 0

    @property
    def slot_count(self) -> int:
        """Slots of its model that it holds between its steps, which `Model.admit` takes for it."""
        return 0


@dataclass(frozen=True, slots=True)
class Progress:
    """The work goes on, in `phase`, at `cost`; `pieces` are ready to be delivered."""

    phase: str
    cost: int
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The work ended with `result`; `pieces` go before it."""

    result: object
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The work ended with `error`; its neighbours did not."""

    error: Exception


Outcome = Progress | Done | Failed


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item made ready for the engine.

    `works`: together the whole item; each work's result is a tuple of (position in the item, result).
    `image_tokens`: vision tokens of the image; `cached_tokens`: those the image cache saved.
    `text_tokens`: tokens of each text, in the item's order. `alike`: for each of them the place of the first that the
    model reads the same and cannot tell from it; nothing, where all differ. `decode_seconds`: spent decoding and
    resizing.
    """

    works: tuple[Work, ...]
    image_tokens: int = 0
    cached_tokens: int = 0
    text_tokens: tuple[int, ...] = ()
    alike: tuple[int, ...] = ()
    decode_seconds: float = 0.0


ItemT = TypeVar("ItemT")
WorkT = TypeVar("WorkT", bound=Work, contravariant=True)
LaunchedT = TypeVar("LaunchedT")


class Model(Protocol[ItemT, WorkT, LaunchedT]):
    """A checkpoint on a device, with items, works and launches of its own kinds.

    `known` runs on the event loop, `prepare` on worker threads; all else on the engine's one device thread, which holds
    no lock meanwhile. Where the device does not work any more, any of it raises `DeviceLost`: the engine ends, and the
    process with it.
    """

    @property
    def tasks(self) -> frozenset[Task]:
        """What it can be asked."""
        ...

    @property
    def depth(self) -> int:
        """Launches that may be under way at once: 1 where `launch` itself computes, 2 where the device runs behind."""
        ...

    def known(self, item: ItemT) -> object | None:
        """What keeps the item's image known for as long as it is held; `None` where `prepare` has to decode it."""
        ...

    def prepare(self, item: ItemT) -> Prepared:
        """Checks and converts an item. Raises `InvalidInput` naming the item's field."""
        ...

    def admit(self, work: WorkT) -> bool:
        """Takes what `work` must hold between its steps (a slot); `False`: none is free, ask again later.

        Books only, and touches no device: the next launch does what it takes.
        """
        ...

    def launch(self, works: Sequence[WorkT]) -> LaunchedT:
        """Starts one step of one phase for all of `works` and returns at once where the device allows it.

        Changes no state, so that a launch that failed can be split and tried again. Raises `OutOfMemory`.
        """
        ...

    def collect(self, launched: LaunchedT) -> Sequence[Outcome]:
        """Waits for a launch and commits it: an outcome per work, in the launch's order. Raises `OutOfMemory`."""
        ...

    def release(self, work: WorkT) -> None:
        """Gives back what `admit` took; called once for every admitted work, however it ended. Touches no device.

        A fault in it ends the engine: nobody knows any more what is free.
        """
        ...

    def warm_up(self) -> ItemT:
        """An item that exercises every phase, for the first run after a load."""
        ...


AnyModel: TypeAlias = Model[Any, Any, Any]
"""A model to those who hand its items, works and launches back to it unread."""
