"""The order of samples as arithmetic: sample number g to (language, epoch, place), at any g alike.

Nothing is drawn from a state and nothing as long as the corpus is held in memory: within an epoch, places are
permuted by a keyed pseudo-random permutation that is evaluated where it is needed.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extend.masking import counter_bits, counter_uniform, mix64

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

SUPERBLOCK = 1024
_ROUNDS = 8
_FEW = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STEPS = np.arange(1, _ROUNDS + 1, dtype=np.uint64) * _GOLDEN
_OFFSET, _LANGUAGES, _ORDER, _MASKS = 11, 12, 13, 14
_PER_LANGUAGE = 1000


def permuted(places: Ids, size: int, keys: Keys) -> Ids:
    """Where each place in [0, size) goes under the permutation that its key stands for.

    A Feistel network of eight rounds (Luby and Rackoff 1988) over the smallest power of two that holds
    `size`, its halves as equal as can be, walked until it is back in [0, size) (Black and Rogaway 2002):
    two turns for a place on average at most, and no memory but the batch's. Up to 64 places, where halves of
    three bits would make some orders likelier than others, all are sorted by random numbers.
    """
    if size <= _FEW:
        draws = mix64(keys[:, None] + np.arange(1, size + 1, dtype=np.uint64) * _GOLDEN)
        moved = np.argsort(draws, axis=1, kind="stable")
        return np.take_along_axis(moved, places[:, None], axis=1)[:, 0].astype(np.int64)
    bits = (size - 1).bit_length()
    low, limit = np.uint64(bits // 2), np.uint64(size)
    masks = (np.uint64((1 << (bits // 2)) - 1), np.uint64((1 << (bits - bits // 2)) - 1))
    result, outside = places.astype(np.uint64), np.arange(len(places))
    while len(outside):
        values, key = result[outside], keys[outside]
        right, left = values & masks[0], values >> low
        for number in range(0, _ROUNDS, 2):
            left = left ^ (mix64(right ^ _round(key, number)) & masks[1])
            right = right ^ (mix64(left ^ _round(key, number + 1)) & masks[0])
        values = (left << low) | right
        result[outside] = values
        outside = outside[values >= limit]
    return result.astype(np.int64)


def _round(keys: Keys, number: int) -> Keys:
    """A round's key: wide enough that it reaches all bits of the half it is mixed with."""
    step: np.uint64 = _STEPS[number]
    return keys + step


def language_turns(samples: Sequence[int] | Ids, weights: tuple[float, ...], *, seed: int) -> tuple[Ids, Ids]:
    """For each sample number, the language it is drawn from and how many of that language came before.

    Every 1,024 consecutive samples hold each language as often as its weight says (weights sum to 1), in an
    order shuffled by (seed, number of the 1,024).
    """
    numbers = np.asarray(samples, dtype=np.int64)
    languages, turns = np.empty_like(numbers), np.empty_like(numbers)
    groups, places = numbers // SUPERBLOCK, numbers % SUPERBLOCK
    for group in np.unique(groups):
        here = groups == group
        language, within = _order(seed, weights, int(group))
        languages[here], turns[here] = language[places[here]], within[places[here]]
    return languages, turns


@functools.lru_cache(maxsize=8)
def _order(seed: int, weights: tuple[float, ...], group: int) -> tuple[Ids, Ids]:
    """Language of each of the group's 1,024 samples, and how many of that language came before it."""
    bounds = np.cumsum(weights)
    bounds[-1] = 1.0
    until = [np.floor(bounds * (count * SUPERBLOCK)).astype(np.int64) for count in (group, group + 1)]
    before, after = (np.diff(counts, prepend=0) for counts in until)
    language = np.repeat(np.arange(len(weights)), after - before)
    draws = counter_uniform(seed, _LANGUAGES, np.array([group]), SUPERBLOCK)[0]
    language = language[np.argsort(draws, kind="stable")]
    within = np.empty(SUPERBLOCK, dtype=np.int64)
    for index in range(len(weights)):
        here = np.flatnonzero(language == index)
        within[here] = before[index] + np.arange(len(here))
    return language, within


@dataclass(frozen=True)
class SampleOrder:
    """Which language and which of its samples sample number g is.

    `counts` are each language's samples an epoch, `weights` its share (summing to 1). Each epoch of a
    language holds each of its samples once, in an order of its own. With `duplicates` k, an epoch is cut and
    masked as epoch mod k was; with 0 every epoch anew.
    """

    counts: tuple[int, ...]
    weights: tuple[float, ...]
    seed: int
    duplicates: int = 0

    def locate(self, samples: Sequence[int] | Ids) -> tuple[Ids, Ids, Ids]:
        """Language, epoch and number within the epoch's text of each sample number."""
        languages, turns = language_turns(samples, self.weights, seed=self.seed)
        sizes = np.array(self.counts, dtype=np.int64)[languages]
        epochs, places = np.divmod(turns, sizes)
        for language in np.unique(languages):
            here = np.flatnonzero(languages == language)
            keys = self._keys(_ORDER, int(language), epochs[here])
            places[here] = permuted(places[here], self.counts[language], keys)
        return languages, epochs, places

    def versions(self, epochs: Ids) -> Ids:
        """The epoch whose cut and masks each epoch has."""
        return epochs % self.duplicates if self.duplicates else epochs

    def shifts(self, languages: Ids, epochs: Ids, most: int) -> Ids:
        """By how many tokens, in [0, most), each epoch's text is cut later than the stream begins."""
        draws = np.empty(len(languages), dtype=np.float64)
        for language in np.unique(languages):
            here = languages == language
            keys = self._keys(_OFFSET, int(language), self.versions(epochs[here]))
            draws[here] = (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (draws * most).astype(np.int64)

    def mask_keys(self, samples: Ids) -> Ids:
        """The number that a sample's masks are drawn by: its own, or with `duplicates` that of its text.

        The latter is 63 bits of a hash of (version, language, number within the epoch).
        """
        if not self.duplicates:
            return samples
        languages, epochs, places = self.locate(samples)
        keys = np.empty(len(samples), dtype=np.uint64)
        for language in np.unique(languages):
            here = languages == language
            versions = self._keys(_MASKS, int(language), self.versions(epochs[here]))
            keys[here] = mix64(versions ^ mix64(places[here].astype(np.uint64)))
        return (keys >> np.uint64(1)).astype(np.int64)

    def _keys(self, purpose: int, language: int, epochs: Ids) -> Keys:
        return counter_bits(self.seed, purpose + _PER_LANGUAGE * language, epochs, 1)[:, 0]


def mixture_weights(sizes: Mapping[str, int], *, exponent: float) -> dict[str, float]:
    """p_l = n_l^exponent / sum (EXTEND's release and mBERT mix languages so, with exponent 0.7)."""
    raised = {language: float(size) ** exponent for language, size in sizes.items()}
    total = sum(raised.values())
    return {language: value / total for language, value in raised.items()}
