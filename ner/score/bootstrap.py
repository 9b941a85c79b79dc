"""Intervals and paired tests from counts by sentence (Efron 1979; Koehn 2004 for the paired form).

Seeds and sentences are resampled together: the spread over seeds alone understates the uncertainty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ner.score.counts import rates
from ner.score.encoding import Ints

Floats = npt.NDArray[np.float64]

REPLICATES = 2000
CELLS = 4_000_000
"""Most weights that are held at once (replicates times sentences)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds with its 95 % interval, in percent points."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Second minus first, in percent points; `p` is the two-sided bootstrap value; noise: 0 lies within."""

    mean: float
    low: float
    high: float
    p: float

    @property
    def noise(self) -> bool:
        return self.low <= 0 <= self.high


def resampled_f1(counts: Sequence[Ints], *, seed: int, replicates: int = REPLICATES) -> Floats:
    """F1 in percent of resampled sentences: [seeds, replicates].

    `counts` has `SpanCounts.by_sentence()` for each seed, of the same sentences. The same `seed` draws the
    same sentences, so that two systems on one test set are paired.
    """
    sentences = counts[0].shape[0]
    columns = np.concatenate(counts, axis=1).astype(np.float64)
    draws = np.random.default_rng(seed)
    chunk = max(1, CELLS // max(1, sentences))
    parts = []
    for first in range(0, replicates, chunk):
        rows = min(chunk, replicates - first)
        drawn = draws.integers(sentences, size=(rows, sentences), dtype=np.int64)
        drawn += sentences * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * sentences).reshape(rows, sentences)
        parts.append((weights.astype(np.float64) @ columns).reshape(rows, len(counts), 3))
    matched, predicted, gold = np.moveaxis(np.concatenate(parts), 0, 1).transpose(2, 0, 1)
    result: Floats = 200 * matched / np.maximum(predicted + gold, 1)
    return result


def over_seeds(resampled: Floats, *, seed: int) -> Floats:
    """Mean over seeds drawn with replacement, for each replicate."""
    seeds, replicates = resampled.shape
    drawn = np.random.default_rng(seed).integers(seeds, size=(seeds, replicates))
    means: Floats = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
    return means


def f1_of(counts: Ints) -> float:
    """F1 in percent of [sentences, 3] counts: matched, predicted, gold."""
    return rates(*(int(value) for value in counts.sum(axis=0))).f1


def interval(counts: Sequence[Ints], *, seed: int, replicates: int = REPLICATES) -> Interval:
    """Mean F1 over seeds and its joint seed-and-sentence 95 % bootstrap interval (percentiles)."""
    return intervals([counts], seed=seed, replicates=replicates)[0]


def intervals(groups: Sequence[Sequence[Ints]], *, seed: int, replicates: int = REPLICATES) -> list[Interval]:
    """`interval` of each group of seeds, with sentences drawn once for all; all are of the same sentences."""
    resampled = resampled_f1([one for group in groups for one in group], seed=seed, replicates=replicates)
    found, first = [], 0
    for group in groups:
        means = over_seeds(resampled[first : first + len(group)], seed=seed + 1)
        found.append(_interval(float(np.mean([f1_of(one) for one in group])), means))
        first += len(group)
    return found


def _interval(mean: float, means: Floats) -> Interval:
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def average(
    parts: Sequence[Sequence[Ints]], *, seed: int, replicates: int = REPLICATES
) -> tuple[Interval, Floats]:
    """The unweighted mean of several test sets' mean F1, with its interval and its replicates.

    Sets are resampled apart from each other; the same `seed` pairs two systems on the same sets in order.
    """
    drawn = [
        over_seeds(
            resampled_f1(part, seed=seed + 10 * place, replicates=replicates), seed=seed + 10 * place + 1
        )
        for place, part in enumerate(parts)
    ]
    means: Floats = np.mean(drawn, axis=0)
    return _interval(float(np.mean([np.mean([f1_of(one) for one in part]) for part in parts])), means), means


def difference(
    first: Sequence[Ints], second: Sequence[Ints], *, seed: int, replicates: int = REPLICATES
) -> Difference:
    """Paired bootstrap of mean F1 of `second` minus that of `first`: sentences shared, seeds drawn apart.

    Raises ValueError when the two were tested on different numbers of sentences.
    """
    if first[0].shape != second[0].shape:
        raise ValueError("a paired comparison needs the same test sentences")
    before = over_seeds(resampled_f1(first, seed=seed, replicates=replicates), seed=seed + 1)
    after = over_seeds(resampled_f1(second, seed=seed, replicates=replicates), seed=seed + 2)
    mean = np.mean([f1_of(one) for one in second]) - np.mean([f1_of(one) for one in first])
    return difference_of(float(mean), after - before)


def difference_of(mean: float, gaps: Floats) -> Difference:
    """The interval and the p value of a difference from its replicates; p is never under 1 / replicates."""
    low, high = np.percentile(gaps, [2.5, 97.5])
    tail = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
    return Difference(mean, float(low), float(high), min(1.0, 2 * (tail + 1) / (len(gaps) + 1)))


def verdict(entry: Mapping[str, Any]) -> str:
    """A difference in words: `the same tags`, `noise`, `better` or `worse`.

    `entry` has `f1`, `noise`, `p` and perhaps `p_holm` and `identical`. It is noise unless the interval is
    clear of 0 and p, corrected where it was, is under 0.05.
    """
    if entry.get("identical"):
        return "the same tags"
    if entry["noise"] or entry.get("p_holm", entry["p"]) >= 0.05:
        return "noise"
    return "better" if entry["f1"] > 0 else "worse"


def holm(values: Mapping[Any, float]) -> dict[Any, float]:
    """Holm's correction (1979) of several p values, by key."""
    ordered = sorted(values, key=lambda key: values[key])
    adjusted: dict[Any, float] = {}
    worst = 0.0
    for rank, key in enumerate(ordered):
        worst = max(worst, min(1.0, (len(ordered) - rank) * values[key]))
        adjusted[key] = worst
    return {key: adjusted[key] for key in values}
