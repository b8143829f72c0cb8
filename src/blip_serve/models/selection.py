"""From logits to next tokens, for all rows of a step at once: the likeliest, a sampled one, or the best of beams.

Penalties and their order are those of transformers' `generate`: repetition penalty, then the end forbidden until
`min_tokens`, then temperature, top-k, top-p and min-p. Beams are penalised in log-probabilities, single texts in
logits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blip_serve.models.device import Device, Pending
from blip_serve.models.sequences import BeamSearch, Candidate, Chosen, Generated, Sample
from blip_serve.models.text_batches import pick, row_indices

COLDEST = 1e-5
"""The lowest temperature that logits are divided by. At and below it, only the likeliest token is ever sampled."""


@dataclass(frozen=True, slots=True)
class Ways:
    """The best `2 * num_beams` ways to go on, of S searches with equally many beams: (S, K) sums and flat indices.

    A flat index is `beam * vocabulary + token`.
    """

    searches: Sequence[BeamSearch]
    sums: Pending
    indices: Pending
    vocabulary: int

    def candidates(self) -> Iterator[tuple[BeamSearch, list[Candidate]]]:
        """Each search's, best first."""
        for search, sums, indices in zip(
            self.searches, self.sums.wait().tolist(), self.indices.wait().tolist(), strict=True
        ):
            ways = zip(sums, indices, strict=True)
            yield search, [Candidate(total, *divmod(index, self.vocabulary)) for total, index in ways]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a step chose, on its way to the host.

    `peaks`: (R,), the largest logit of each row. It is not finite if the row's computation failed.
    """

    sequences: Sequence[Generated]
    peaks: Pending
    tokens: Pending
    beams: Sequence[Ways]
    logprobs: tuple[Pending, Pending, Pending] | None

    def outcomes(self) -> "list[Chosen | list[Candidate] | None]":
        """For each sequence its token, or its candidates (best first), or `None` if its logits are not finite."""
        finite = torch.isfinite(self.peaks.wait()).tolist()
        tokens, logprobs = self.tokens.wait().tolist(), self._likeliest()
        beams = {search: found for ways in self.beams for search, found in ways.candidates()}
        outcomes: list[Chosen | list[Candidate] | None] = []
        row = 0
        for sequence in self.sequences:
            rows = len(sequence.histories)
            if isinstance(sequence, BeamSearch):
                found: Chosen | list[Candidate] = beams[sequence]
            elif sequence.options.top_logprobs is not None:
                logprob, top = next(logprobs)
                found = Chosen(tokens[row], logprob, top[: sequence.options.top_logprobs])
            else:
                found = Chosen(tokens[row])
            outcomes.append(found if all(finite[row : row + rows]) else None)
            row += rows
        return outcomes

    def _likeliest(self) -> Iterator[tuple[float, tuple[tuple[int, float], ...]]]:
        """For each sequence that asks: its token's log-probability, and the likeliest tokens with theirs."""
        if self.logprobs is None:
            return
        chosen, top, ids = (found.wait().tolist() for found in self.logprobs)
        for logprob, own, names in zip(chosen, top, ids, strict=True):
            yield logprob, tuple(zip(names, own, strict=True))


def select(logits: Tensor, sequences: Sequence[Generated], end: int, device: Device) -> Selection:
    """(R, V) float32 logits of the sequences' rows, in order -> the next tokens. Changes nothing in `sequences`.

    Indices are uploaded, and numbers are written by `index_fill_`. A Python list or number would be copied to CUDA by a
    copy that waits for all earlier work.
    """
    owners = [sequence for sequence in sequences for _ in sequence.histories]
    scores = logits.clone()
    if beams := [row for row, owner in enumerate(owners) if isinstance(owner, BeamSearch)]:
        rows = _upload(beams, device)
        scores[rows] = logits[rows].log_softmax(dim=-1)
    _penalise(scores, sequences, device)
    if early := [row for row, owner in enumerate(owners) if not owner.may_end]:
        scores[:, end].index_fill_(0, _upload(early, device), -torch.inf)
    tokens = scores.argmax(dim=-1)
    if drawn := {row: owner for row, owner in enumerate(owners) if isinstance(owner, Sample) and _is_drawn(owner)}:
        rows = _upload(drawn, device)
        tokens[rows] = _draw(scores[rows], list(drawn.values()), device)
    return Selection(
        sequences,
        device.to_host(logits.amax(dim=-1)),
        device.to_host(tokens),
        _best_of_beams(scores, sequences, device),
        _logprobs(logits, tokens, owners, device),
    )


def _upload(rows: Iterable[int], device: Device) -> Tensor:
    return device.upload(torch.tensor(list(rows)))


def _is_drawn(sequence: Sample) -> bool:
    return sequence.options.temperature > 0


def _penalise(scores: Tensor, sequences: Sequence[Generated], device: Device) -> None:
    """Penalises tokens that a text has: divides positive scores and multiplies negative ones (arXiv:1909.05858)."""
    owned = [(sequence.options.repetition_penalty, history) for sequence in sequences for history in sequence.histories]
    there = [(row, id, penalty) for row, (penalty, ids) in enumerate(owned) if penalty != 1 for id in set(ids)]
    if not there:
        return
    rows, ids, penalties = zip(*there, strict=True)
    row, id = device.upload(torch.tensor([rows, ids]))
    penalty = device.upload(torch.tensor(penalties, dtype=torch.float32))
    old = scores[row, id]
    scores[row, id] = torch.where(old < 0, old * penalty, old / penalty)


def _draw(scores: Tensor, sequences: Sequence[Sample], device: Device) -> Tensor:
    """(R, V) -> (R,) ids, each sampled by its sequence's `lot` from the tokens that top-k, top-p and min-p leave.

    A row of NaN gets a valid id too, since an index out of range would end CUDA's context.
    """
    options = [sequence.options for sequence in sequences]
    vocabulary = scores.shape[-1]
    numbers = [
        [max(option.temperature, COLDEST) for option in options],
        [min(option.top_k or vocabulary, vocabulary) - 1 for option in options],
        [option.top_p for option in options],
        [option.min_p for option in options],
        [sequence.lot for sequence in sequences],
    ]
    temperature, weakest, top_p, min_p, lots = device.upload(torch.tensor(numbers, dtype=torch.float32)[..., None])
    below = scores - scores.amax(dim=-1, keepdim=True)  # so that dividing by the temperature makes no infinity
    probabilities, ids = (below / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    kept = probabilities.masked_fill(probabilities < probabilities.gather(1, weakest.long()), 0)
    reached = kept.cumsum(dim=-1)
    beyond = (reached - kept >= top_p * reached[:, -1:]) | (kept < min_p * kept[:, :1])
    beyond[:, 0] = False
    kept = kept.masked_fill(beyond, 0)
    reached = kept.cumsum(dim=-1)
    drawn = torch.searchsorted(reached, lots * reached[:, -1:], right=True)
    last = (kept > 0).sum(dim=-1, keepdim=True) - 1
    chosen: Tensor = ids.gather(1, torch.minimum(drawn, last).clamp(min=0))[:, 0]
    return chosen


def _best_of_beams(scores: Tensor, sequences: Sequence[Generated], device: Device) -> list[Ways]:
    """Of all searches. Those with equally many rows and beams are computed together."""
    alike: dict[tuple[int, int], dict[int, BeamSearch]] = {}
    row = 0
    for sequence in sequences:
        rows = len(sequence.histories)
        if isinstance(sequence, BeamSearch):
            alike.setdefault((rows, sequence.width), {})[row] = sequence
        row += rows
    return [_ways(scores, rows, 2 * width, searches, device) for (rows, width), searches in alike.items()]


def _ways(scores: Tensor, rows: int, count: int, searches: Mapping[int, BeamSearch], device: Device) -> Ways:
    """The best `count` ways to go on. `searches`: by the first of their `rows` rows each."""
    beams = row_indices([first + i for first in searches for i in range(rows)], device.upload)
    running = device.upload(torch.tensor([search.scores for search in searches.values()], dtype=torch.float32))
    ways = (pick(scores, beams).view(len(searches), rows, -1) + running[..., None]).flatten(1)
    sums, indices = ways.topk(min(count, ways.shape[1]))
    return Ways(list(searches.values()), device.to_host(sums), device.to_host(indices), scores.shape[1])


def _logprobs(
    logits: Tensor, tokens: Tensor, owners: Sequence[Generated], device: Device
) -> tuple[Pending, Pending, Pending] | None:
    """(A,) log-probabilities of the chosen tokens of the A rows that ask; (A, K) of the likeliest, and their ids."""
    asked = {row: count for row, owner in enumerate(owners) if (count := owner.options.top_logprobs) is not None}
    if not asked:
        return None
    rows = _upload(asked, device)
    logprobs = logits[rows].log_softmax(dim=-1)
    top, ids = logprobs.topk(max(asked.values()))
    chosen = logprobs.gather(1, tokens[rows, None])[:, 0]
    return device.to_host(chosen), device.to_host(top), device.to_host(ids)
