"""Sums over all tag sequences of sentences: normaliser, marginals, expected transitions.

Two ways to the same numbers, both in fp64. Scaled forward-backward (Rabiner 1989, section V.A) multiplies
probabilities that are brought to a sum of 1 at every word. A path that is improbable up to a word may be the
only legal one after it; should a number be so small that such a path could be lost, the batch is done again
in log space, which is slower and loses nothing.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Scores = tuple[Tensor, Tensor, Tensor]
"""Start (tags), transition (from x to) and end (tags) scores."""

_TINIEST_STATE, _LOWEST_EMISSION, _LOWEST_TRANSITION = math.exp(-250), -300.0, -100.0
"""A state, times a transition, times an emission, that are not below these is above the smallest float."""
_NEVER = -1e3
"""A transition score below this is no path: its exponential is 0."""
_PAIRS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class PathSums:
    """Of every sentence: ln of the sum of exp(score) over all paths (less what was normalised away of the
    emissions), p(tag) of each word (anything beyond the length), and how often tag follows tag."""

    total: Tensor
    chances: Tensor
    pairs: Tensor | None


def normalised(emissions: Tensor) -> Tensor:
    """Emissions in fp64, shifted so that a word's exponentials sum to 1: no probability changes."""
    return emissions.double().log_softmax(dim=2)


def path_sums(emissions: Tensor, scores: Scores, lengths: Tensor, *, pairs: bool = False) -> PathSums:
    """Sums over all paths.

    Args:
        emissions: batch x steps x tags, finite also beyond the lengths. lengths: on the same device, from 1.
        pairs: whether expected transitions are wanted.
    """
    normal = normalised(emissions)
    start, transitions, end = (score.double() for score in scores)
    found = _scaled(normal, (start, transitions, end), lengths, pairs=pairs)
    return found or _in_log_space(normal, (start, transitions, end), lengths, pairs=pairs)


def _scaled(emissions: Tensor, scores: Scores, lengths: Tensor, *, pairs: bool) -> PathSums | None:
    """None when a path could have been lost. Both directions run in one loop, the backward one over each
    sentence turned round within its length."""
    start, transitions, end = scores
    inside = _inside(emissions, lengths)
    index = _turned(emissions, lengths)
    gains, gain = emissions.exp(), transitions.exp()
    both = torch.stack([gains, gains.gather(1, index)]).permute(2, 0, 1, 3).contiguous()
    weights = torch.stack([gain, gain.t()])
    states = torch.empty_like(both)
    scales = both.new_empty(*both.shape[:3], 1)
    current = both[0] * torch.stack([start, end]).exp()[:, None]
    for step in range(len(both)):
        if step:
            current = torch.bmm(states[step - 1], weights).mul_(both[step])
        torch.sum(current, dim=2, keepdim=True, out=scales[step])
        torch.div(current, scales[step], out=states[step])
    forward = states[:, 0].transpose(0, 1)
    backward = states[:, 1].transpose(0, 1).gather(1, index)
    last = (_at_last(forward, lengths) * end.exp()).sum(dim=1)
    total = (scales[:, 0, :, 0].t().log() * inside).sum(dim=1) + last.log()
    if not _sound(emissions, scores, (forward, backward), total, inside):
        return None
    chances = forward * backward / gains
    chances = chances / chances.sum(dim=2, keepdim=True)
    if not pairs:
        return PathSums(total, chances, None)
    after = backward[:, 1:] * inside[:, 1:, None]
    mass = ((forward[:, :-1] @ gain) * backward[:, 1:]).sum(dim=2, keepdim=True)
    mass = mass.masked_fill(~inside[:, 1:, None], 1)
    expected = ((forward[:, :-1] / mass).transpose(1, 2) @ after) * gain
    return PathSums(total, chances, expected)


def _sound(
    emissions: Tensor, scores: Scores, states: tuple[Tensor, Tensor], total: Tensor, inside: Tensor
) -> bool:
    every = torch.cat([score.flatten() for score in scores])
    possible = every.masked_fill(every < _NEVER, 0)
    both = torch.stack(states)[:, inside]
    lost = ((both > 0) & (both < _TINIEST_STATE)).any() | (emissions < _LOWEST_EMISSION).any()
    lost |= (possible < _LOWEST_TRANSITION).any() | ~total.isfinite().all()
    lost |= ~both.isfinite().all()
    return not bool(lost)


def _in_log_space(emissions: Tensor, scores: Scores, lengths: Tensor, *, pairs: bool) -> PathSums:
    start, transitions, end = scores
    index = _turned(emissions, lengths)
    both = torch.stack([emissions, emissions.gather(1, index)]).permute(2, 0, 1, 3).contiguous()
    weights = torch.stack([transitions, transitions.t()]).permute(1, 0, 2)[:, :, None]
    sums = torch.empty_like(both)
    sums[0] = both[0] + torch.stack([start, end])[:, None]
    for step in range(1, len(both)):
        paths = sums[step - 1].permute(2, 0, 1)[:, :, :, None] + weights
        torch.add(torch.logsumexp(paths, dim=0), both[step], out=sums[step])
    forward = sums[:, 0].transpose(0, 1)
    backward = sums[:, 1].transpose(0, 1).gather(1, index)
    total = torch.logsumexp(_at_last(forward, lengths) + end, dim=1)
    chances = (forward + backward - emissions - total[:, None, None]).exp()
    found = _pairs_in_log_space(forward, backward, transitions, total, lengths) if pairs else None
    return PathSums(total, chances, found)


def _pairs_in_log_space(
    forward: Tensor, backward: Tensor, transitions: Tensor, total: Tensor, lengths: Tensor
) -> Tensor:
    batch, steps, tags = forward.shape
    inside = _inside(forward, lengths)
    result = forward.new_zeros(batch, tags, tags)
    chunk = max(1, _PAIRS_AT_ONCE // (batch * tags * tags))
    for begin in range(1, steps, chunk):
        here = slice(begin, begin + chunk)
        after = backward[:, here] - total[:, None, None]
        before = forward[:, begin - 1 : min(here.stop, steps) - 1]
        pairs = before[:, :, :, None] + transitions + after[:, :, None, :]
        result += pairs.masked_fill(~inside[:, here, None, None], -math.inf).exp().sum(dim=1)
    return result


def _turned(emissions: Tensor, lengths: Tensor) -> Tensor:
    """For `gather` along the steps: every sentence the other way round, what lies beyond it kept beyond."""
    steps = emissions.shape[1]
    turned = (lengths[:, None] - 1 - torch.arange(steps, device=emissions.device)) % steps
    return turned[:, :, None].expand_as(emissions)


def _inside(emissions: Tensor, lengths: Tensor) -> Tensor:
    inside: Tensor = torch.arange(emissions.shape[1], device=emissions.device) < lengths[:, None]
    return inside


def _at_last(values: Tensor, lengths: Tensor) -> Tensor:
    return values.gather(1, (lengths[:, None, None] - 1).expand(-1, 1, values.shape[2]))[:, 0]


def path_scores(emissions: Tensor, scores: Scores, tags: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The score of one path a sentence under `normalised` emissions, and its transition counts."""
    start, transitions, end = (score.double() for score in scores)
    inside = _inside(emissions, lengths).double()
    chosen = emissions.gather(2, tags[:, :, None])[:, :, 0]
    pairs = tags[:, :-1] * len(start) + tags[:, 1:]
    counts = emissions.new_zeros(len(tags), len(start) ** 2).scatter_add_(1, pairs, inside[:, 1:])
    ends = start[tags[:, 0]] + end[tags.gather(1, lengths[:, None] - 1)[:, 0]]
    score = (chosen * inside).sum(dim=1) + (transitions.flatten()[pairs] * inside[:, 1:]).sum(dim=1) + ends
    return score, counts.view(len(tags), len(start), len(start))
