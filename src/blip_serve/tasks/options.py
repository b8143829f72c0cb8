"""Checks of the generation options. The same bounds hold for HTTP, the command line and Python."""

import math
from collections.abc import Sequence
from dataclasses import replace

from blip_serve.domain import Caption, GenerationOptions
from blip_serve.errors import InvalidInput
from blip_serve.settings import LimitSettings
from blip_serve.tasks.inputs import check_positive, check_texts, field_of

MAX_STOPS = 4
MAX_STOP_CHARS = 1000
MAX_COUNT = 1_000_000
"""Upper bound of `top_k` and of `min_tokens`."""
MAX_TOP_LOGPROBS = 20
MAX_TEMPERATURE = 2
MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.1, 10


def checked(
    options: GenerationOptions, n: int, given: Sequence[Caption], logprobs_param: str, limits: LimitSettings
) -> GenerationOptions:
    """The options of a request for `n` texts, with `max_tokens` cut to what the settings allow.

    `given`: the texts to choose from, if any. Raises `InvalidInput` that names the field at fault.
    """
    check_positive(n=n, num_beams=options.num_beams, **{options.max_tokens_param: options.max_tokens})
    _check_bounds(options)
    options = replace(options, max_tokens=min(options.max_tokens, limits.max_new_tokens))
    for name, value, limit in (("n", n, limits.max_choices), ("num_beams", options.num_beams, limits.max_beams)):
        if value > limit:
            raise InvalidInput(f"'{name}' is {value}; the limit is {limit}.", param=name)
    if options.min_tokens > options.max_tokens:
        raise InvalidInput(
            f"'min_tokens' is {options.min_tokens}; '{options.max_tokens_param}' comes to {options.max_tokens}.",
            param="min_tokens",
        )
    if given:
        _check_given(given, limits)
    elif options.num_beams > 1:
        _check_beams(options, n)
    if options.top_logprobs is not None and (given or options.num_beams > 1):
        what = "A text that is chosen" if given else "A search by beams"
        raise InvalidInput(f"{what} has no log-probabilities.", code="unsupported_parameter", param=logprobs_param)
    return options


def _check_bounds(options: GenerationOptions) -> None:
    """Raises `InvalidInput` for a value outside the fixed bounds, which no setting changes."""
    for name, number, least, most in (
        ("temperature", options.temperature, 0, MAX_TEMPERATURE),
        ("top_k", options.top_k, 0, MAX_COUNT),
        ("top_p", options.top_p, 0, 1),
        ("min_p", options.min_p, 0, 1),
        ("min_tokens", options.min_tokens, 0, MAX_COUNT),
        ("repetition_penalty", options.repetition_penalty, MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY),
        ("top_logprobs", options.top_logprobs or 0, 0, MAX_TOP_LOGPROBS),
        ("seed", options.seed, -(2**63), 2**63 - 1),
    ):
        if not (math.isfinite(number) and least <= number <= most):
            raise InvalidInput(f"'{name}' is {number}; it must be from {least} to {most}.", param=name)
    if not options.top_p:
        raise InvalidInput("'top_p' is 0; it must be above 0.", param="top_p")
    if len(options.stop) > MAX_STOPS:
        raise InvalidInput(f"{len(options.stop)} stop strings; the limit is {MAX_STOPS}.", param="stop")
    for stop in options.stop:
        if not 1 <= len(stop) <= MAX_STOP_CHARS:
            raise InvalidInput(f"A stop string has 1 to {MAX_STOP_CHARS} characters.", param="stop")


def _check_given(texts: Sequence[Caption], limits: LimitSettings) -> None:
    if len(texts) > limits.max_captions:
        raise InvalidInput(
            f"{len(texts)} texts to choose from; the limit is {limits.max_captions}.",
            code="too_many_choices",
            param=field_of(texts),
        )
    check_texts(texts, limits)


def _check_beams(options: GenerationOptions, n: int) -> None:
    if n > options.num_beams:
        raise InvalidInput(f"{options.num_beams} beams give no {n} texts.", param="n")
    if options.temperature > 0:
        narrowed = [("top_p", options.top_p != 1), ("top_k", options.top_k != 0), ("min_p", options.min_p != 0)]
        raise InvalidInput(
            "Beams do not sample: leave 'num_beams' out, or 'temperature', 'top_k', 'top_p' and 'min_p'.",
            param=next((name for name, given in narrowed if given), "temperature"),
        )
