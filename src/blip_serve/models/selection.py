"""Logits to next tokens, for all rows of a step at once: the likeliest, one drawn by lot, or the best of beams.

Penalties and their order are those of transformers' `generate`: repetition penalty, then the end forbidden until
`min_tokens`, then temperature, top-k, top-p and min-p. Beams are penalised in log-probabilities, single texts in
logits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blip_serve.models.device import Device, Pending
from blip_serve.models.sequences import BeamSearch, Candidate, Chosen, Sample

Generated = Sample | BeamSearch
COLDEST = 1e-5
"""Lowest temperature that is divided by: below it, and long before, only the likeliest token is drawn."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a step chose, on its way to the host; `peaks` (R,) is each row's largest logit, finite unless it failed."""

    sequences: Sequence[Generated]
    peaks: Pending
    tokens: Pending
    beams: Sequence[tuple[Pending, Pending]]
    logprobs: tuple[Pending, Pending, Pending] | None

    def outcomes(self) -> "list[Chosen | list[Candidate] | None]":
        """For each sequence its token, its candidates (best first), or `None` where the logits were not finite."""
        finite = torch.isfinite(self.peaks.wait()).tolist()
        tokens, beams, logprobs = self.tokens.wait().tolist(), iter(self.beams), self._likeliest()
        outcomes: list[Chosen | list[Candidate] | None] = []
        row = 0
        for sequence in self.sequences:
            rows = len(sequence.histories)
            if isinstance(sequence, BeamSearch):
                found: Chosen | list[Candidate] = _candidates(*next(beams))
            elif sequence.options.top_logprobs is not None:
                logprob, top = next(logprobs)
                found = Chosen(tokens[row], logprob, top[: sequence.options.top_logprobs])
            else:
                found = Chosen(tokens[row])
            outcomes.append(found if all(finite[row : row + rows]) else None)
            row += rows
        return outcomes

    def _likeliest(self) -> Iterator[tuple[float, tuple[tuple[int, float], ...]]]:
        """For each sequence that asks, its token's log-probability, and the likeliest tokens with theirs."""
        if self.logprobs is None:
            return
        chosen, top, ids = (found.wait().tolist() for found in self.logprobs)
        for logprob, own, names in zip(chosen, top, ids, strict=True):
            yield logprob, tuple(zip(names, own, strict=True))


def select(logits: Tensor, sequences: Sequence[Generated], end: int, device: Device) -> Selection:
    """(R, V) float32 logits of the sequences' rows, in order -> the next tokens. Changes nothing in `sequences`."""
    owners = [sequence for sequence in sequences for _ in sequence.histories]
    beams = [row for row, owner in enumerate(owners) if isinstance(owner, BeamSearch)]
    scores = logits.clone()
    if beams:
        scores[beams] = logits[beams].log_softmax(dim=-1)
    _penalise(scores, sequences, device)
    early = [row for row, owner in enumerate(owners) if not owner.may_end]
    if early:
        scores[early, end] = -torch.inf
    tokens = scores.argmax(dim=-1)
    drawn = {row: owner for row, owner in enumerate(owners) if isinstance(owner, Sample) and _is_drawn(owner)}
    if drawn:
        tokens[list(drawn)] = _draw(scores[list(drawn)], list(drawn.values()), device)
    return Selection(
        sequences,
        device.to_host(logits.amax(dim=-1)),
        device.to_host(tokens),
        _best_of_beams(scores, sequences, device),
        _logprobs(logits, tokens, owners, device),
    )


def _is_drawn(sequence: Sample) -> bool:
    return sequence.options.temperature > 0


def _penalise(scores: Tensor, sequences: Sequence[Generated], device: Device) -> None:
    """Words that are there already: positive scores divided, negative ones multiplied (arXiv:1909.05858)."""
    row = 0
    for sequence in sequences:
        for history in sequence.histories:
            if sequence.options.repetition_penalty != 1:
                ids = device.upload(torch.tensor(sorted(set(history))))
                old = scores[row, ids]
                penalty = sequence.options.repetition_penalty
                scores[row, ids] = torch.where(old < 0, old * penalty, old / penalty)
            row += 1


def _draw(scores: Tensor, sequences: Sequence[Sample], device: Device) -> Tensor:
    """(R, V) -> (R,) ids, each drawn by its sequence's lot from the tokens that top-k, top-p and min-p leave."""
    options = [sequence.options for sequence in sequences]
    words = scores.shape[-1]
    numbers = [
        [max(option.temperature, COLDEST) for option in options],
        [min(option.top_k or words, words) - 1 for option in options],
        [option.top_p for option in options],
        [option.min_p for option in options],
        [sequence.lot for sequence in sequences],
    ]
    temperature, weakest, top_p, min_p, lots = device.upload(torch.tensor(numbers, dtype=torch.float32))[..., None]
    below = scores - scores.amax(dim=-1, keepdim=True)  # so that no temperature makes an infinity of the likeliest
    probabilities, ids = (below / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    kept = probabilities.masked_fill(probabilities < probabilities.gather(1, weakest.long()), 0)
    reached = kept.cumsum(dim=-1)
    beyond = (reached - kept >= top_p * reached[:, -1:]) | (kept < min_p * kept[:, :1])
    beyond[:, 0] = False
    kept = kept.masked_fill(beyond, 0)
    reached = kept.cumsum(dim=-1)
    place = torch.searchsorted(reached, lots * reached[:, -1:], right=True)
    last = (kept > 0).sum(dim=-1, keepdim=True) - 1
    drawn: Tensor = ids.gather(1, torch.minimum(place, last))[:, 0]
    return drawn


def _best_of_beams(scores: Tensor, sequences: Sequence[Generated], device: Device) -> list[tuple[Pending, Pending]]:
    """For each search the sums and flat indices of its best `2 * num_beams` ways to go on."""
    found = []
    row = 0
    for sequence in sequences:
        rows = len(sequence.histories)
        if isinstance(sequence, BeamSearch):
            running = device.upload(torch.tensor(sequence.scores, dtype=torch.float32))[:, None]
            ways = (scores[row : row + rows] + running).flatten()
            sums, indices = ways.topk(min(2 * sequence.width, len(ways)))
            places = torch.stack([indices // scores.shape[1], indices % scores.shape[1]])
            found.append((device.to_host(sums), device.to_host(places)))
        row += rows
    return found


def _logprobs(
    logits: Tensor, tokens: Tensor, owners: Sequence[Generated], device: Device
) -> tuple[Pending, Pending, Pending] | None:
    """(A,) log-probabilities of the chosen tokens of the A rows that ask; (A, K) of the likeliest, and their ids."""
    asked = {row: count for row, owner in enumerate(owners) if (count := owner.options.top_logprobs) is not None}
    if not asked:
        return None
    rows = device.upload(torch.tensor(list(asked)))
    logprobs = logits[rows].log_softmax(dim=-1)
    top, ids = logprobs.topk(max(asked.values()))
    chosen = logprobs.gather(1, tokens[rows, None])[:, 0]
    return device.to_host(chosen), device.to_host(top), device.to_host(ids)


def _candidates(sums: Pending, places: Pending) -> list[Candidate]:
    beams, ids = places.wait().tolist()
    return [Candidate(*found) for found in zip(sums.wait().tolist(), beams, ids, strict=True)]
