"""Masking for masked-language-model training: whole words, 15 %, 80/10/10, drawn from a counter.

Devlin et al. 2019 (BERT), section 3.1, with the whole-word variant of its code of record: words are taken in
random order while they fit the budget of round(rate * maskable tokens), at least one. Each chosen token
becomes [MASK] (80 %), a random token (10 %) or stays (10 %). We differ in drawing the replacement from the
pieces that are not special, and in drawing everything from a counter-based generator: the masks of sample
number s are a pure function of (seed, s), whatever the batch, the worker or the process.
"""

import functools
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor

from extend.types import SpecialIds

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class MaskingRule:
    """`rate` of the maskable tokens are predicted, at most `most` a sample when it is given."""

    rate: float = 0.15
    whole_word: bool = True
    most: int | None = None
    mask_share: float = 0.8
    random_share: float = 0.1


@dataclass(frozen=True)
class MaskedBatch:
    """What one step trains on. `positions` are flat indices into (batch, seq); `targets` the ids there.

    `segments` and `next_sentence` (0: B follows A, 1: it does not) are there for NSP only.
    """

    input_ids: Int[Tensor, "batch seq"]
    positions: Int[Tensor, " predictions"]
    targets: Int[Tensor, " predictions"]
    attention_mask: Bool[Tensor, "batch seq"] | None = None
    segments: Int[Tensor, "batch seq"] | None = None
    next_sentence: Int[Tensor, " batch"] | None = None

    def to(self, device: torch.device) -> "MaskedBatch":
        moved = {
            part.name: value.to(device, non_blocking=True)
            for part in fields(self)
            if (value := getattr(self, part.name)) is not None
        }
        return MaskedBatch(**moved)


def counter_bits(
    seed: int, purpose: int, samples: Int[np.ndarray, " batch"], width: int
) -> UInt[np.ndarray, "batch width"]:
    """64 random bits for every (seed, purpose, sample, position), by two rounds of splitmix64."""
    key = _mix(
        np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + np.array([purpose], np.uint64) * _GOLDEN
    )
    rows = _mix(samples.astype(np.uint64) * _GOLDEN ^ key)
    return _mix(rows[:, None] + np.arange(1, width + 1, dtype=np.uint64)[None] * _GOLDEN)


def counter_uniform(
    seed: int, purpose: int, samples: Int[np.ndarray, " batch"], width: int
) -> Float[np.ndarray, "batch width"]:
    """Numbers in [0, 1) with 53 random bits, a pure function of the arguments."""
    return (counter_bits(seed, purpose, samples, width) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mask_batch(
    ids: Int[np.ndarray, "batch seq"],
    word_starts: Bool[np.ndarray, "batch seq"],
    samples: Int[np.ndarray, " batch"],
    *,
    rule: MaskingRule,
    special: SpecialIds,
    seed: int,
) -> tuple[Int[np.ndarray, "batch seq"], Int[np.ndarray, " predictions"]]:
    """Masked input ids and the flat positions to predict (ascending).

    `word_starts` marks the first token of every word; special tokens are never chosen.
    """
    width = ids.shape[1]
    maskable = ~np.isin(ids, np.fromiter(special.unmaskable, dtype=ids.dtype))
    starts = word_starts | ~maskable | (not rule.whole_word)
    starts[:, 0] = True
    starts[:, 1:] |= ~maskable[:, :-1]
    chosen = choose_words(starts, maskable, counter_uniform(seed, 1, samples, width), rule=rule)
    fate = counter_uniform(seed, 2, samples, width)
    allowed = _replacements(special)
    drawn = allowed[(counter_uniform(seed, 3, samples, width) * len(allowed)).astype(np.int64)]
    masked = np.where(chosen & (fate < rule.mask_share), special.mask, ids)
    random = chosen & (fate >= rule.mask_share) & (fate < rule.mask_share + rule.random_share)
    return np.where(random, drawn, masked), np.flatnonzero(chosen)


def choose_words(
    starts: Bool[np.ndarray, "batch seq"],
    maskable: Bool[np.ndarray, "batch seq"],
    priority: Float[np.ndarray, "batch seq"],
    *,
    rule: MaskingRule,
) -> Bool[np.ndarray, "batch seq"]:
    """Which tokens to predict: whole words by ascending priority of their first token, while they fit."""
    batch, width = starts.shape
    word = np.cumsum(starts, axis=1) - 1
    row = np.arange(batch)[:, None]
    lengths = np.zeros((batch, width), dtype=np.int64)
    np.add.at(lengths, (np.broadcast_to(row, word.shape), word), 1)
    rank_key = np.full((batch, width), np.inf)
    first_row, first_column = np.nonzero(starts & maskable)
    rank_key[first_row, word[first_row, first_column]] = priority[first_row, first_column]
    budget = np.maximum(1, np.rint(maskable.sum(axis=1) * rule.rate)).astype(np.int64)
    budget = np.minimum(budget, rule.most) if rule.most is not None else budget
    taken = np.zeros((batch, width), dtype=bool)
    order = np.argsort(rank_key, axis=1, kind="stable")
    left = np.where(np.isfinite(rank_key).any(axis=1), budget, 0)
    rows = np.arange(batch)
    for candidates in order.T:
        fits = (lengths[rows, candidates] <= left) & np.isfinite(rank_key[rows, candidates])
        taken[rows, candidates] = fits
        left = left - np.where(fits, lengths[rows, candidates], 0)
        if not left.any():
            break
    chosen: Bool[np.ndarray, "batch seq"] = np.take_along_axis(taken, word, axis=1) & maskable
    return chosen


def as_batch(
    original: Int[np.ndarray, "batch seq"],
    masked: Int[np.ndarray, "batch seq"],
    positions: Int[np.ndarray, " predictions"],
    **more: Tensor,
) -> MaskedBatch:
    """The tensors of one step from arrays."""
    return MaskedBatch(
        torch.from_numpy(masked.astype(np.int64)),
        torch.from_numpy(positions.astype(np.int64)),
        torch.from_numpy(original.reshape(-1)[positions].astype(np.int64)),
        **more,
    )


@functools.cache
def _replacements(special: SpecialIds) -> Int[np.ndarray, " allowed"]:
    return np.setdiff1d(np.arange(special.vocab_size), np.fromiter(special.unmaskable, dtype=np.int64))


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), on whole arrays."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
