"""Texts being generated, on the host: what was chosen so far, what comes next, when it ends. Knows no tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from random import Random

from blip_serve.domain import FinishReason, GeneratedText, GenerateItem, GenerationOptions, Piece, TokenLogprob
from blip_serve.errors import InvalidInput
from blip_serve.models.detokenizing import Detokenizer, GrowingText


@dataclass(frozen=True, slots=True)
class Chosen:
    """The token a step chose for a row, and, if asked for, its log-probability and the likeliest tokens'."""

    id: int
    logprob: float = 0.0
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way a beam may go on: the sum of its log-probabilities, which beam, and with which token."""

    score: float
    beam: int
    id: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What sequences know of the checkpoint: the ids that begin and end a text, and the way back to text."""

    begin: int
    end: int
    detokenizer: Detokenizer


@dataclass(eq=False, slots=True)
class Sample:
    """A text that goes on with one token a step: the likeliest, or one drawn by lot.

    `choices`: the places it takes among the item's texts; the greedy text takes all of them.
    `prompt`: `[DEC]` and the words given; `history` begins with it. `logprobs`: of each token, with how much of the
    text must be told before it is.
    """

    vocabulary: Vocabulary
    prompt: tuple[int, ...]
    options: GenerationOptions
    choices: tuple[int, ...]
    stream: bool
    history: list[int] = field(init=False)
    logprobs: list[tuple[int, TokenLogprob]] = field(default_factory=list)
    finished: FinishReason | None = None
    growing: GrowingText = field(init=False)
    _told: int = 0

    def __post_init__(self) -> None:
        self.history = list(self.prompt)
        self.growing = GrowingText(self.vocabulary.detokenizer, self.prompt[1:], self.options.stop)

    @property
    def width(self) -> int:
        """Rows it takes."""
        return 1

    @property
    def ended(self) -> bool:
        """Whether no token comes any more."""
        return self.finished is not None

    @property
    def histories(self) -> list[Sequence[int]]:
        """The prompt and what was generated, a row each."""
        return [self.history]

    @property
    def generated(self) -> int:
        """Tokens generated so far, the end included."""
        return len(self.history) - len(self.prompt)

    @property
    def may_end(self) -> bool:
        """Whether the next token may be the end."""
        return self.generated >= self.options.min_tokens

    @property
    def lot(self) -> float:
        """A number in 0..1 that draws the next token: by the seed, the choice and the place, whatever else runs."""
        return Random(f"{self.options.seed}/{self.choices[0]}/{self.generated}").random()

    def advance(self, chosen: Chosen) -> None:
        """Takes a token. At the end `finished` says why."""
        self.history.append(chosen.id)
        ended = chosen.id == self.vocabulary.end
        if not ended:
            before = len(self.growing.whole)
            self.growing.write((chosen.id,))
            if self.options.top_logprobs is not None:
                self._note(chosen, self.growing.whole[before:])
        if ended or self.growing.stopped:
            self.finished = "stop"
        elif self.generated == self.options.max_tokens:
            self.finished = "length"

    def pieces(self) -> tuple[Piece, ...]:
        """What has settled since the last call, for each of its choices."""
        text = self.growing.settled(self.finished) if self.stream else ""
        if not self.stream or not (text or self.finished):
            return ()
        logprobs = self._logprobs(self._told, self.growing.told)
        self._told += len(logprobs or ())
        return tuple(Piece(choice, text, logprobs, self.finished) for choice in self.choices)

    def results(self) -> tuple[tuple[int, GeneratedText], ...]:
        """The finished text, for each of its choices."""
        assert self.finished is not None
        logprobs = self._logprobs(0, len(self.growing.text))
        text = GeneratedText(self.growing.text, self.finished, self.generated, logprobs)
        return tuple((choice, text) for choice in self.choices)

    def _logprobs(self, start: int, length: int) -> tuple[TokenLogprob, ...] | None:
        """Those of the tokens from `start` on that are within `length` of the text, if asked for.

        None of a stop string, nor of what is held.
        """
        if self.options.top_logprobs is None:
            return None
        within = takewhile(lambda noted: noted[0] <= length, self.logprobs[start:])
        return tuple(logprob for _, logprob in within)

    def _note(self, chosen: Chosen, text: str) -> None:
        end, logprobs = len(self.growing.whole), self.logprobs
        for place in reversed(range(len(logprobs))):
            if logprobs[place][0] <= end:
                break
            logprobs[place] = end, logprobs[place][1]  # the text got shorter: `do n '` became `don't`
        first = len(self.prompt) == 1 and self.generated == 1
        top = tuple((self.vocabulary.detokenizer.token(id, first), logprob) for id, logprob in chosen.top)
        logprobs.append((end, TokenLogprob(text, chosen.logprob, top)))


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A beam: the prompt and its tokens, and its score (the sum of log-probabilities; once finished, their mean)."""

    history: tuple[int, ...]
    score: float


@dataclass(eq=False, slots=True)
class BeamSearch:
    """The `n` best of `num_beams` beams, as transformers' `generate` searches them.

    Its `_beam_search` with `length_penalty` 1 and `early_stopping` False: finished beams are ranked by their mean
    log-probability, and the search ends once no beam under way can come before the worst of them.
    """

    vocabulary: Vocabulary
    prompt: tuple[int, ...]
    options: GenerationOptions
    n: int
    stream: bool
    running: list[Hypothesis] = field(init=False)
    done: list[Hypothesis] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self.running = [Hypothesis(self.prompt, 0.0)]

    @property
    def width(self) -> int:
        """Rows it takes."""
        return self.options.num_beams

    @property
    def histories(self) -> list[Sequence[int]]:
        """The prompt and what was generated, a row each; one row before the first token."""
        return [beam.history for beam in self.running]

    @property
    def scores(self) -> list[float]:
        """Of the beams under way."""
        return [beam.score for beam in self.running]

    @property
    def may_end(self) -> bool:
        """Whether the next token may be the end."""
        return self._generated(self.running[0]) >= self.options.min_tokens

    def advance(self, candidates: Sequence[Candidate]) -> list[int]:
        """Takes the best `2 * num_beams` ways to go on, best first.

        Returns, for each beam now under way, which one it goes on from; `ended` once there is none.
        """
        grown = [Hypothesis((*self.running[found.beam].history, found.id), found.score) for found in candidates]
        length = self._generated(grown[0])
        over = length == self.options.max_tokens
        ends = [over or beam.history[-1] == self.vocabulary.end for beam in grown]
        for beam, end in list(zip(grown, ends, strict=True))[: self.width]:
            if end:
                self.done.append(Hypothesis(beam.history, beam.score / length))
        self.done = sorted(self.done, key=lambda beam: -beam.score)[: self.width]
        going_on = [i for i, end in enumerate(ends) if not end][: self.width]
        self.running = [grown[i] for i in going_on]
        self.ended = over or not self._can_improve(length)
        return [candidates[i].beam for i in going_on]

    def pieces(self) -> tuple[Piece, ...]:
        """Nothing before the end, then each text as one piece: the beams may change places until then."""
        if not self.stream or not self.ended:
            return ()
        return tuple(Piece(choice, text.text, None, text.finish_reason) for choice, text in self.results())

    def results(self) -> tuple[tuple[int, GeneratedText], ...]:
        """The best `n`, best first."""
        return tuple((choice, self._text(beam)) for choice, beam in enumerate(self.done[: self.n]))

    def _can_improve(self, length: int) -> bool:
        """Whether the best beam under way, at its present length, would come before the worst that is done."""
        return len(self.done) < self.width or self.running[0].score / length > self.done[-1].score

    def _text(self, beam: Hypothesis) -> GeneratedText:
        ended = beam.history[-1] == self.vocabulary.end
        text = GrowingText(self.vocabulary.detokenizer, self.prompt[1:], self.options.stop)
        text.write(beam.history[len(self.prompt) : len(beam.history) - ended])
        reason: FinishReason = "stop" if ended or text.stopped else "length"
        return GeneratedText(text.text, reason, self._generated(beam))

    def _generated(self, beam: Hypothesis) -> int:
        """Tokens generated of a beam, the end included."""
        return len(beam.history) - len(self.prompt)


Generated = Sample | BeamSearch


def sequences(item: GenerateItem, words: tuple[int, ...], vocabulary: Vocabulary, positions: int) -> list[Generated]:
    """What an item's texts are generated as, after `words`; `positions`: tokens the decoder can hold, `[DEC]` included.

    There are two fewer words than that at most: the tokenizer counts `[CLS]` and `[SEP]`. More tokens than there is
    room for means as many as there is. Raises `InvalidInput` where the tokens that must come do not fit.
    """
    prompt, options = (vocabulary.begin, *words), item.options
    room = positions - len(prompt)
    if options.min_tokens > room:
        raise InvalidInput(
            f"The model holds {positions} tokens: {len(prompt)} at the beginning leave {room}.", param="min_tokens"
        )
    most = min(options.max_tokens, room)
    options = replace(options, max_tokens=most, min_tokens=most if options.ignore_eos else options.min_tokens)
    if options.num_beams > 1:
        return [BeamSearch(vocabulary, prompt, options, item.n, item.stream)]
    alike = options.temperature == 0
    places = [tuple(range(item.n))] if alike else [(choice,) for choice in range(item.n)]
    return [Sample(vocabulary, prompt, options, choices, item.stream) for choices in places]
