"""Texts being generated, as the host sees them: the tokens so far, and when a text ends. Knows no tensors."""

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
    """One way to go on: the beam (its index), the next token, and the sum of the log-probabilities with it."""

    score: float
    beam: int
    id: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What sequences need of the checkpoint: the ids that begin and end a text, and the way from ids to text."""

    begin: int
    end: int
    detokenizer: Detokenizer


@dataclass(eq=False, slots=True)
class Sample:
    """A text that gets one token a step: the likeliest, or one that is sampled.

    `choices`: which of the item's texts it is. Greedy texts are all the same, so one sequence stands for all of them.
    `prompt`: `[DEC]` and the given tokens; `history` begins with it. `logprobs`: those of each token, and the length
    that the text must be streamed to before they are.
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
        """Slots of the KV cache that it takes."""
        return 1

    @property
    def ended(self) -> bool:
        """Whether the text is complete."""
        return self.finished is not None

    @property
    def histories(self) -> list[Sequence[int]]:
        """The prompt and the tokens generated so far, as the only item of a list."""
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
        """A random number in 0..1 that samples the next token.

        It depends on the seed, the choice and the token's position alone, so the other works of a step do not matter.
        """
        return Random(f"{self.options.seed}/{self.choices[0]}/{self.generated}").random()

    def advance(self, chosen: Chosen) -> None:
        """Appends a token. Sets `finished` if the text ends with it."""
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
        """The text that became final since the last call, for each of its choices."""
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
        """Those of the tokens from `start` on that lie within the first `length` characters, if asked for.

        So tokens of a stop string, and tokens whose text is not final yet, have none.
        """
        if self.options.top_logprobs is None:
            return None
        within = takewhile(lambda noted: noted[0] <= length, self.logprobs[start:])
        return tuple(logprob for _, logprob in within)

    def _note(self, chosen: Chosen, text: str) -> None:
        end, logprobs = len(self.growing.whole), self.logprobs
        for i in reversed(range(len(logprobs))):
            if logprobs[i][0] <= end:
                break
            logprobs[i] = end, logprobs[i][1]  # the text got shorter: `do n '` became `don't`
        first = len(self.prompt) == 1 and self.generated == 1
        top = tuple((self.vocabulary.detokenizer.token(id, first), logprob) for id, logprob in chosen.top)
        logprobs.append((end, TokenLogprob(text, chosen.logprob, top)))


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A beam: the prompt and its tokens, and the sum of their log-probabilities, or once finished, the mean."""

    history: tuple[int, ...]
    score: float


@dataclass(eq=False, slots=True)
class BeamSearch:
    """The `n` best texts of a search with `num_beams` beams, as transformers' `generate` does it.

    That is its `_beam_search` with `length_penalty` 1 and `early_stopping` False: finished beams are ranked by their
    mean log-probability. The search ends when no running beam can become better than the worst finished one.
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
        """Slots of the KV cache that it takes."""
        return self.options.num_beams

    @property
    def histories(self) -> list[Sequence[int]]:
        """The prompt and the tokens generated so far of each running beam. Before the first token, there is one."""
        return [beam.history for beam in self.running]

    @property
    def scores(self) -> list[float]:
        """Those of the running beams."""
        return [beam.score for beam in self.running]

    @property
    def may_end(self) -> bool:
        """Whether the next token may be the end."""
        return self._generated(self.running[0]) >= self.options.min_tokens

    def advance(self, candidates: Sequence[Candidate]) -> list[int]:
        """Goes on by the best `2 * num_beams` candidates, given best first. Sets `ended` at the end of the search.

        Returns, for each beam that now runs, the index of the beam it goes on from.
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
        """Nothing until the search ends, since the order of the beams may change; then each text as one piece."""
        if not self.stream or not self.ended:
            return ()
        return tuple(Piece(choice, text.text, None, text.finish_reason) for choice, text in self.results())

    def results(self) -> tuple[tuple[int, GeneratedText], ...]:
        """The best `n`, best first."""
        return tuple((choice, self._text(beam)) for choice, beam in enumerate(self.done[: self.n]))

    def _can_improve(self, length: int) -> bool:
        """Whether the best running beam, at its present length, is better than the worst finished one."""
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


def sequences(item: GenerateItem, given: tuple[int, ...], vocabulary: Vocabulary, positions: int) -> list[Generated]:
    """The sequences that generate an item's texts after the `given` tokens.

    `positions`: tokens that the decoder can hold, `[DEC]` included. `given` has at most two fewer, since the tokenizer
    counts `[CLS]` and `[SEP]`. `max_tokens` is lowered to what fits. Raises `InvalidInput` if `min_tokens` do not fit.
    """
    prompt, options = (vocabulary.begin, *given), item.options
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
    shared = [tuple(range(item.n))] if alike else [(choice,) for choice in range(item.n)]
    return [Sample(vocabulary, prompt, options, choices, item.stream) for choices in shared]
