"""The types that all layers share.

An item is what a request asks of a model. A work is a part of an item that the engine schedules. An outcome is what
a step made of a work. `Model` is the interface of a loaded checkpoint. Knows no HTTP, no tensors and no scheduling.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, get_args

ScoringProtocol = Literal["hf", "paper"]
ScoreName = Literal["itm", "cosine"]
Task = Literal["match", "embed", "caption", "answer", "explain"]
FinishReason = Literal["stop", "length"]
ImageFormat = Literal["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "HEIC"]
ServiceTier = Literal["auto", "default", "fast", "flex", "priority", "scale"]
"""How a request asks to be served, in OpenAI's words. `flex` is background work; all others are interactive."""
WorkClass = Literal["interactive", "background"]
"""How the engine schedules a work. Background works run when no interactive one waits, and have a small share."""
ExplainMethod = Literal["gradcam", "attention"]
"""How a map is made: attention to the image, times its effect on the match logit (`gradcam`) or as it is."""
Layer = int | Literal["all"]
"""A layer of the text tower by its index from 0, or the sum over all."""
Per = Literal["word", "caption"]
"""What has a map: each word of a caption, or the caption, as the mean of its words."""
Size = tuple[int, int]
"""Width and height in pixels."""

EVERY_TASK: tuple[Task, ...] = get_args(Task)

IMAGE_COST = 40
"""Cost of encoding one image. The unit of cost is one pass of up to `CAPTION_TOKENS` tokens through the text tower.

ViT-B at 384 px takes ~0.116 TFLOP; BERT-base with cross-attention takes ~0.2 GFLOP per token.
"""
PROJECTION_COST = 6
"""Cost of computing one image's cross-attention keys and values for a step (~0.016 TFLOP on ViT-B)."""
EXPLAIN_PASSES = 4
"""What an explanation costs, in passes of its caption: there and back, in float32 and by layers that are not fused."""
CAPTION_TOKENS = 15
"""Tokens per unit of cost."""
MAX_POSITIONS = 512
"""The most tokens of a text: those of BERT's positions. A model may have fewer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. `models`: the models it may use, as names or patterns such as `Salesforce/*`.

    `tasks`: what it may ask of them. `address`: the caller's IP address, set only if nothing else tells callers apart.
    `flex_only`: all its requests are background work, and it may not ask for another service tier. `manages`: it may
    load and unload models.
    """

    name: str
    models: tuple[str, ...] = ("*",)
    tasks: tuple[Task, ...] = EVERY_TASK
    address: str = ""
    flex_only: bool = False
    manages: bool = False


ANYONE = Caller("anyone", manages=True)
"""The caller where no API keys are configured."""


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """The bytes of an image file, not yet decoded. `digest`: SHA-256 of `data`. `param`: the request's field."""

    data: bytes
    digest: str
    param: str


@dataclass(frozen=True, slots=True)
class Caption:
    """A text as the client sent it. `param`: the request's field that it came from."""

    text: str
    param: str


@dataclass(frozen=True, slots=True)
class MatchItem:
    """Score one image against captions."""

    image: ImageBytes
    captions: tuple[Caption, ...]
    protocol: ScoringProtocol = "hf"
    scores: frozenset[ScoreName] = frozenset({"itm", "cosine"})


@dataclass(frozen=True, slots=True)
class MatchScores:
    """Scores of one image and one caption. A score that was not asked for is `None`.

    `itm_logits`: `(no match, match)`. `itm_score`: probability of a match, the softmax of the logits (0..1).
    `cosine_score`: -1..1. `calibrated_score`: of the logits, the probability that image and caption are a true pair
    (0..1); `None` where the model has no calibration for the protocol.
    """

    itm_logits: tuple[float, float] | None = None
    itm_score: float | None = None
    cosine_score: float | None = None
    calibrated_score: float | None = None


@dataclass(frozen=True, slots=True)
class EmbedItem:
    """Embed one text or one image as a unit vector."""

    source: Caption | ImageBytes
    protocol: ScoringProtocol = "hf"


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How a text is generated. The defaults are those of the model cards: greedy, at most 20 new tokens.

    `max_tokens`: the most tokens to generate. The end token counts, the prompt does not. `max_tokens_param`: the
    request's field. `min_tokens`: no end token before so many tokens; a stop string may still end the text earlier.
    `temperature`: 0 takes the likeliest token and ignores `top_k` (0: all tokens), `top_p` and `min_p`. Above 0,
    `top_k`, `top_p` and `min_p` filter the tokens in this order, and one of those left is sampled. A beam search never
    samples. `stop`: strings that end the text; they are not part of it. `ignore_eos`: only `max_tokens` ends the text.
    `top_logprobs`: alternatives listed per token; `None`: no log-probabilities at all.
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
    """Generate `n` texts from one image.

    `text`: for a captioning model the beginning of the caption (part of the output; may be blank), for an answering
    model the question. `stream`: whether to deliver pieces as they are generated.
    """

    image: ImageBytes
    text: Caption
    n: int = 1
    options: GenerationOptions = GenerationOptions()
    protocol: ScoringProtocol = "hf"
    stream: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token. `logprob`: its natural log-probability. `top`: the likeliest tokens at its position."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """One of an item's `n` texts. `tokens`: number of generated tokens, with the end token."""

    text: str
    finish_reason: FinishReason
    tokens: int
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of text number `choice`. Only the last piece of a text has a `finish_reason`."""

    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class RankItem:
    """Compute the log-likelihood of each of `answers`: the sum of the natural log-probabilities of its tokens.

    `question`: for a captioning model the beginning of the caption (may be blank), which the answers continue.
    `beginnings`: score each answer as the start of a longer text, so without the end token. Each of `answers` must then
    be a single token.
    """

    image: ImageBytes
    question: Caption
    answers: tuple[Caption, ...]
    protocol: ScoringProtocol = "hf"
    beginnings: bool = False


@dataclass(frozen=True, slots=True)
class ExplainItem:
    """Find where an image shows the words of each of `captions`.

    `question`: for a model that answers questions, which the captions then answer. `method` and `layer`: `None` means
    those of the model's card. `max_words`: the most maps to make.
    """

    image: ImageBytes
    captions: tuple[Caption, ...]
    question: Caption | None = None
    method: ExplainMethod | None = None
    layer: Layer | None = None
    per: Per = "word"
    max_words: int = 256
    protocol: ScoringProtocol = "hf"


@dataclass(frozen=True, slots=True)
class WordMap:
    """Where an image shows a word.

    `start`, `end`: the word's place in the caption as it was given, in characters. `map`: rows of numbers 0..1, a grid
    over the upright image, to 5 decimal places; its largest number is 1, which stands for `maximum`. Without any
    attention all are 0.
    """

    word: str
    start: int
    end: int
    map: tuple[tuple[float, ...], ...] = field(repr=False)
    maximum: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The maps of one image and one caption, and how they were made. `size`: of the upright image.

    `itm_logits` and `itm_score`: as in `MatchScores`; `None` if the model does not match.
    """

    method: ExplainMethod
    layer: Layer
    size: Size
    words: tuple[WordMap, ...]
    itm_logits: tuple[float, float] | None = None
    itm_score: float | None = None


Item = MatchItem | EmbedItem | GenerateItem | RankItem | ExplainItem


def image_of(item: Item) -> ImageBytes | None:
    """The item's image, or `None`."""
    if isinstance(item, EmbedItem):
        return item.source if isinstance(item.source, ImageBytes) else None
    return item.image


@dataclass(eq=False, slots=True, kw_only=True)
class Work:
    """The unit that the engine schedules: a part of an item.

    `phase`: the phase of its next step. `cost`: the cost of that step, counted against `max_step_cost`.
    `length`: tokens; the engine batches works of similar length. A model subclasses this with the state its steps need.
    The engine changes only `phase` and `cost`, to those of a `Progress`.
    """

    phase: str
    cost: int
    length: int = 0

    @property
    def slot_count(self) -> int:
        """How many slots it holds between its steps. `Model.admit` takes them."""
        return 0


def request_cost(images: int, pairs: int) -> int:
    """Estimated cost of a request before its inputs are read: every image is encoded, every pair is a short caption."""
    return images * (IMAGE_COST + PROJECTION_COST) + pairs


def generation_cost(sequences: int, tokens: int) -> int:
    """Estimated cost of generating texts: one image, and one step per token and sequence."""
    return request_cost(1, sequences * tokens)


def explanation_cost(pairs: int, tokens: int = MAX_POSITIONS, asked: int = MAX_POSITIONS) -> int:
    """Cost of explaining pairs of a known image and a caption of `tokens`, which answers a question of `asked`."""
    return pairs * EXPLAIN_PASSES * (caption_cost(tokens) + caption_cost(asked))


def caption_cost(tokens: int) -> int:
    """Cost of one pass of `tokens` tokens through the text tower."""
    return -(-tokens // CAPTION_TOKENS)


@dataclass(frozen=True, slots=True)
class Progress:
    """The work needs another step, of this `phase` and `cost`. `pieces`: text to deliver now."""

    phase: str
    cost: int
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The work ended with `result`. `pieces`: text to deliver before it."""

    result: object
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The work ended with `error`. The other works of the step are not affected."""

    error: Exception


Outcome = Progress | Done | Failed


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that is ready for the engine.

    `works`: all works of the item. A work's result is a tuple of pairs: an index in the item, and the result for it.
    `image_tokens`: vision tokens of the image. `cached_tokens`: those that the image cache saved. `text_tokens`: tokens
    of each text, in the item's order. `alike`: for each text the index of the first text with the same tokens, which
    the model cannot tell from it; may be empty if all texts differ. `decode_seconds`: time for decoding and resizing.
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
    """A checkpoint on a device, with its own types of items, works and launches.

    `known` runs on the event loop and `prepare` on worker threads. All other methods run on the engine's one device
    thread, which holds no lock during the call. Any method raises `DeviceLost` if the device has failed: then the
    engine ends, and the process with it.
    """

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks it can do."""
        ...

    @property
    def depth(self) -> int:
        """Launches that may be in flight at once: 1 if `launch` computes before it returns, 2 if the device is
        asynchronous."""
        ...

    def known(self, item: ItemT) -> object | None:
        """The cached state of the item's image. It stays cached while you hold it. `None`: `prepare` must decode it."""
        ...

    def missing(self, tasks: Sequence[Task]) -> Callable[[], object] | None:
        """What loads all that only `tasks` need of the model, or `None` if nothing of it is missing.

        It is called on a thread of its own, before the first item of these tasks is prepared. It may take seconds, and
        raises `CheckpointError`, `OutOfMemory` and `DeviceLost`. `missing` itself runs on the event loop.
        """
        ...

    def prepare(self, item: ItemT) -> Prepared:
        """Checks and converts an item. Raises `InvalidInput` naming the item's field."""
        ...

    def admit(self, work: WorkT) -> bool:
        """Reserves the slots that `work` needs between its steps. `False`: too few are free, try again later.

        Only does bookkeeping and does not touch the device: the next launch sets the slots up.
        """
        ...

    def launch(self, works: Sequence[WorkT]) -> LaunchedT:
        """Starts one step of one phase for all of `works`. Returns at once if the device is asynchronous.

        Must be repeatable: the engine splits a failed launch and tries again. Raises `OutOfMemory`.
        """
        ...

    def collect(self, launched: LaunchedT) -> Sequence[Outcome]:
        """Waits for a launch and commits its results: one outcome per work, in order. Raises `OutOfMemory`."""
        ...

    def release(self, work: WorkT) -> None:
        """Frees the slots that `admit` reserved. Called once for every admitted work. Does not touch the device.

        An exception here ends the engine, because the number of free slots is then unknown.
        """
        ...

    def warm_up(self) -> ItemT:
        """An item that runs every phase once, for the warm-up after a load."""
        ...


AnyModel: TypeAlias = Model[Any, Any, Any]
"""A model whose items, works and launches are opaque to the code that holds it."""
