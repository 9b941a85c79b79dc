"""Masking for masked-language-model training: whole words, 15 %, 80/10/10, drawn from a counter.

Devlin et al. 2019 (BERT), section 3.1, with the whole-word variant of its code of record (studied by Cui et
al. 2021, arXiv 1906.08101): words are taken in random order while they fit the budget of round(rate *
maskable tokens), at least one. Each chosen token becomes [MASK] (80 %), a random one (10 %) or stays (10 %).
We differ in drawing the replacement from the pieces that are not special, and in drawing everything from a
counter-based generator: masks are a pure function of (seed, a sample's number), whatever the batch, the
worker or the process. A batch offers as many predictions as its shape says, so that no shape varies.
"""

import functools
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor

from extend.types import SpecialIds

IGNORED = -100
"""The target of a prediction that does not count (what torch's cross-entropy leaves out)."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD_BITS = np.uint64(13)
_NEVER = np.uint64(0xFFFFFFFFFFFFFFFF)
_FEW = 1024


@dataclass(frozen=True)
class MaskingRule:
    """`rate` of the maskable tokens are predicted, at most `most` a sample when it is given."""

    rate: float = 0.15
    whole_word: bool = True
    most: int | None = None
    mask_share: float = 0.8
    random_share: float = 0.1

    def budget(self, maskable: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
        """How many tokens may be predicted of samples with so many maskable ones."""
        budget = np.maximum(1, np.rint(maskable * self.rate)).astype(np.int64)
        return budget if self.most is None else np.minimum(budget, self.most)

    def offered(self, batch: int, length: int) -> int:
        """Predictions that a batch of this shape provides: its budgets at most, rounded up."""
        return _rounded(batch * int(self.budget(np.array([length]))[0]))


@dataclass(frozen=True)
class MaskedBatch:
    """What one step trains on. `positions` are flat indices into (batch, seq); `targets` the ids there.

    Their number depends on the batch's shape alone: after the predictions that count come ones at position 0
    with target IGNORED. `segments` and `next_sentence` (0: B follows A, 1: it does not) are there for NSP.
    `documents` is there for packed samples: which of its sample's documents a token belongs to, from 0, -1
    for padding. `replayed` says of each sample whether its language is an old one that is replayed.
    """

    input_ids: Int[Tensor, "batch seq"]
    positions: Int[Tensor, " predictions"]
    targets: Int[Tensor, " predictions"]
    attention_mask: Bool[Tensor, "batch seq"] | None = None
    segments: Int[Tensor, "batch seq"] | None = None
    next_sentence: Int[Tensor, " batch"] | None = None
    documents: Int[Tensor, "batch seq"] | None = None
    replayed: Bool[Tensor, " batch"] | None = None

    @property
    def predictions(self) -> int:
        """How many predictions count. On a GPU this waits for it: ask before `to`."""
        return int((self.targets != IGNORED).sum())

    def to(self, device: torch.device) -> "MaskedBatch":
        """The same batch on `device`."""
        moved = {
            part.name: value.to(device, non_blocking=True)
            for part in fields(self)
            if (value := getattr(self, part.name)) is not None
        }
        return MaskedBatch(**moved)

    def part(self, start: int, stop: int) -> "MaskedBatch":
        """Samples [start, stop) as a batch; parts of one size have one number of predictions."""
        batch, length = self.input_ids.shape
        share = _rounded(-(-len(self.targets) * (stop - start) // batch))
        here = (self.positions >= start * length) & (self.positions < stop * length)
        here &= self.targets != IGNORED
        positions, targets = self.positions[here] - start * length, self.targets[here]
        more = share - len(positions)
        cut = {
            part.name: value[start:stop]
            for part in fields(self)
            if part.name not in ("positions", "targets") and (value := getattr(self, part.name)) is not None
        }
        return MaskedBatch(
            positions=torch.nn.functional.pad(positions, (0, more)),
            targets=torch.nn.functional.pad(targets, (0, more), value=IGNORED),
            **cut,
        )


def _rounded(count: int) -> int:
    """Up to a multiple of 8, of 64 for many: what tensor cores take, for at most 6 % more rows."""
    step = 8 if count <= _FEW else 64
    return -(-count // step) * step


def counter_bits(
    seed: int, purpose: int, samples: Int[np.ndarray, " batch"], width: int
) -> UInt[np.ndarray, "batch width"]:
    """64 random bits for every (seed, purpose, sample, position), by two rounds of splitmix64."""
    rows = _sample_keys(seed, purpose, samples)
    return mix64(rows[:, None] + np.arange(1, width + 1, dtype=np.uint64)[None] * _GOLDEN)


def counter_uniform(
    seed: int, purpose: int, samples: Int[np.ndarray, " batch"], width: int
) -> Float[np.ndarray, "batch width"]:
    """Numbers in [0, 1) with 53 random bits, a pure function of the arguments."""
    return _uniform(counter_bits(seed, purpose, samples, width))


def mask_batch(
    ids: Int[np.ndarray, "batch seq"],
    word_starts: Bool[np.ndarray, "batch seq"],
    samples: Int[np.ndarray, " batch"],
    *,
    rule: MaskingRule,
    special: SpecialIds,
    seed: int,
    replacements: Int[np.ndarray, " allowed"] | None = None,
) -> tuple[Int[np.ndarray, "batch seq"], Int[np.ndarray, " predictions"]]:
    """Masked input ids and the flat positions to predict (ascending).

    `word_starts` marks the first token of every word; special tokens are never chosen. `samples` are the
    numbers that masks are drawn by. `replacements` are the ids that random tokens are drawn from, by default
    all that are not special.
    """
    width = ids.shape[1]
    maskable = _maskable(special)[ids]
    starts = word_starts | ~maskable | (not rule.whole_word)
    starts[:, 0] = True
    starts[:, 1:] |= ~maskable[:, :-1]
    chosen = choose_words(starts, maskable, counter_bits(seed, 1, samples, width), rule=rule)
    positions = np.flatnonzero(chosen)
    rows, columns = np.divmod(positions, width)
    fate = _uniform(_bits_at(seed, 2, samples, rows, columns))
    masked = ids.copy()
    masked.reshape(-1)[positions[fate < rule.mask_share]] = special.mask
    random = (fate >= rule.mask_share) & (fate < rule.mask_share + rule.random_share)
    allowed = _replacements(special) if replacements is None else replacements
    drawn = _uniform(_bits_at(seed, 3, samples, rows[random], columns[random]))
    masked.reshape(-1)[positions[random]] = allowed[(drawn * len(allowed)).astype(np.int64)]
    return masked, positions


def choose_words(
    starts: Bool[np.ndarray, "batch seq"],
    maskable: Bool[np.ndarray, "batch seq"],
    priority: UInt[np.ndarray, "batch seq"],
    *,
    rule: MaskingRule,
) -> Bool[np.ndarray, "batch seq"]:
    """Which tokens to predict: whole words by ascending priority of their first token, while they fit.

    Of the priority (64 bits) the 13 lowest, which samples of 8,192 tokens need for the word's place, are left
    out. In the order of priority the words that fit together are taken at once; the first that does not is
    passed over for good, for the room only shrinks, and so are all others that are longer than what is left.
    """
    batch, width = starts.shape
    flat = np.flatnonzero(starts)
    lengths = np.diff(flat, append=starts.size)
    sizes = np.zeros(starts.shape, dtype=np.int64)
    sizes.reshape(-1)[flat] = lengths
    columns = np.arange(width, dtype=np.uint64)
    keys = np.where(starts & maskable, (priority >> _WORD_BITS << _WORD_BITS) | columns, _NEVER)
    keys.sort(axis=1)
    order = (keys & (np.uint64(1 << int(_WORD_BITS)) - np.uint64(1))).astype(np.int64)
    order[keys == _NEVER] = 0
    sizes = np.where(keys == _NEVER, width + 1, np.take_along_axis(sizes, order, axis=1))
    left = np.where(maskable.any(axis=1), rule.budget(maskable.sum(axis=1)), 0)
    taken = np.zeros(starts.shape, dtype=bool)
    rows = np.arange(batch)
    while len(rows):
        open_words = sizes <= left[:, None]
        rows_open = open_words.any(axis=1)
        if not rows_open.all():
            rows, sizes, left = rows[rows_open], sizes[rows_open], left[rows_open]
            order, open_words = order[rows_open], open_words[rows_open]
        room = np.cumsum(np.where(open_words, sizes, 0), axis=1)
        fits = open_words & (room <= left[:, None])
        row, place = np.nonzero(fits)
        taken[rows[row], order[row, place]] = True
        left = left - np.where(fits, sizes, 0).sum(axis=1)
        sizes = np.where(fits, width + 1, sizes)
    return np.repeat(taken.reshape(-1)[flat], lengths).reshape(starts.shape)


def as_batch(
    original: Int[np.ndarray, "batch seq"],
    masked: Int[np.ndarray, "batch seq"],
    positions: Int[np.ndarray, " predictions"],
    *,
    offered: int | None = None,
    **more: Tensor,
) -> MaskedBatch:
    """The tensors of one step from arrays, padded to `offered` predictions (default: those there are)."""
    count = len(positions) if offered is None else offered
    places, targets = np.zeros(count, dtype=np.int64), np.full(count, IGNORED, dtype=np.int64)
    places[: len(positions)] = positions
    targets[: len(positions)] = original.reshape(-1)[positions]
    return MaskedBatch(
        torch.from_numpy(masked.astype(np.int64)), torch.from_numpy(places), torch.from_numpy(targets), **more
    )


@functools.cache
def _maskable(special: SpecialIds) -> Bool[np.ndarray, " vocab"]:
    allowed = np.ones(special.vocab_size, dtype=bool)
    allowed[np.fromiter(special.unmaskable, dtype=np.int64)] = False
    return allowed


@functools.cache
def _replacements(special: SpecialIds) -> Int[np.ndarray, " allowed"]:
    return np.setdiff1d(np.arange(special.vocab_size), np.fromiter(special.unmaskable, dtype=np.int64))


def _sample_keys(seed: int, purpose: int, samples: Int[np.ndarray, " batch"]) -> UInt[np.ndarray, " batch"]:
    key = mix64(
        np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + np.array([purpose], np.uint64) * _GOLDEN
    )
    return mix64(samples.astype(np.uint64) * _GOLDEN ^ key)


def _bits_at(
    seed: int,
    purpose: int,
    samples: Int[np.ndarray, " batch"],
    rows: Int[np.ndarray, " drawn"],
    columns: Int[np.ndarray, " drawn"],
) -> UInt[np.ndarray, " drawn"]:
    """What `counter_bits` has at these rows and columns."""
    keys = _sample_keys(seed, purpose, samples)[rows]
    return mix64(keys + (columns + 1).astype(np.uint64) * _GOLDEN)


def _uniform(bits: UInt[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mix64(value: UInt[np.ndarray, "*shape"]) -> UInt[np.ndarray, "*shape"]:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), on whole arrays."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
