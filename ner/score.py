"""Span precision, recall and F1 from tags, vectorised, with intervals from per-sentence counts.

`repaired` scores equal seqeval's default mode and conlleval.pl, `strict` ones seqeval's strict IOB2 mode.
Bootstrap intervals resample seeds and sentences together: the spread over seeds alone understates them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ner.tags import split_tag

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

REPLICATES = 2000


@dataclass(frozen=True, slots=True)
class Rates:
    """Precision, recall and F1 in percent (0 where nothing was predicted or nothing is there)."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class SpanCounts:
    """Counts by sentence and type: `matched`, `predicted` and `gold` spans, each [sentences, labels]."""

    labels: tuple[str, ...]
    matched: Ints
    predicted: Ints
    gold: Ints

    def total(self) -> Rates:
        """Micro average over types."""
        return rates(int(self.matched.sum()), int(self.predicted.sum()), int(self.gold.sum()))

    def per_type(self) -> dict[str, Rates]:
        sums = (counts.sum(axis=0).tolist() for counts in (self.matched, self.predicted, self.gold))
        return {label: rates(*row) for label, row in zip(self.labels, zip(*sums, strict=True), strict=True)}

    def support(self) -> dict[str, int]:
        return dict(zip(self.labels, map(int, self.gold.sum(axis=0)), strict=True))

    def only(self, labels: Collection[str]) -> "SpanCounts":
        """The counts of these types alone."""
        kept = [index for index, label in enumerate(self.labels) if label in labels]
        names = tuple(self.labels[index] for index in kept)
        return SpanCounts(names, self.matched[:, kept], self.predicted[:, kept], self.gold[:, kept])

    def by_sentence(self) -> Ints:
        """[sentences, 3]: matched, predicted, gold over all types."""
        return np.stack([self.matched.sum(1), self.predicted.sum(1), self.gold.sum(1)], axis=1)


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


def rates(matched: int, predicted: int, gold: int) -> Rates:
    """Precision, recall and F1 in percent of span counts; 0 where there is nothing to divide by."""
    precision = 100 * matched / predicted if predicted else 0.0
    recall = 100 * matched / gold if gold else 0.0
    return Rates(precision, recall, 100 * 2 * matched / (predicted + gold) if predicted + gold else 0.0)


def count_spans(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, strict: bool = False
) -> SpanCounts:
    """Compare IOB2 tags, illegal ones repaired as conlleval does or, with `strict`, discarded.

    Raises ValueError when the two differ in sentences or words.
    """
    if len(gold) != len(predicted) or any(
        len(mine) != len(theirs) for mine, theirs in zip(gold, predicted, strict=True)
    ):
        raise ValueError("gold and predicted have the same sentences and words")
    codes = _Codes(tag for tags in (*gold, *predicted) for tag in tags)
    owner = np.repeat(np.arange(len(gold)), [len(tags) + 1 for tags in gold])
    gold_end, gold_type = codes.spans(gold, strict=strict)
    predicted_end, predicted_type = codes.spans(predicted, strict=strict)
    same = (gold_end > 0) & (gold_end == predicted_end) & (gold_type == predicted_type)
    shape = (len(gold), len(codes.labels))

    def tally(starts: npt.NDArray[np.bool_], types: Ints) -> Ints:
        cells = owner[starts] * shape[1] + types[starts]
        return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)

    return SpanCounts(
        labels=codes.labels,
        matched=tally(same, gold_type),
        predicted=tally(predicted_end > 0, predicted_type),
        gold=tally(gold_end > 0, gold_type),
    )


class _Codes:
    """Tags as numbers: 0 outside, 1 begin, 2 inside, and the index of the type."""

    def __init__(self, tags: Iterable[str]) -> None:
        parts = {tag: split_tag(tag) for tag in sorted(set(tags))}
        for tag, (prefix, _) in parts.items():
            if prefix not in "OBI":
                raise ValueError(f"IOB2 tags expected, got {tag!r}")
        self.labels = tuple(sorted({label for _, label in parts.values()} - {""}))
        self._codes = {
            tag: ("OBI".index(prefix), self.labels.index(label) if label else -1)
            for tag, (prefix, label) in parts.items()
        }

    def spans(self, sentences: Sequence[Sequence[str]], *, strict: bool) -> tuple[Ints, Ints]:
        """For each place (words, and one outside place after every sentence): the end of the span that
        starts there (0: none) and its type."""
        pairs = [self._codes[tag] if tag else (0, -1) for tags in sentences for tag in (*tags, "")]
        prefix, kind = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        before = np.concatenate([[-1], kind[:-1]])
        opens = (prefix == 1) | ((prefix == 2) & (kind != before))
        breaks = np.flatnonzero(opens | (prefix == 0))
        starts = np.flatnonzero(opens)
        ends = np.append(breaks, len(prefix))[np.searchsorted(breaks, starts, side="right")]
        if strict:
            legal = prefix[starts] == 1
            starts, ends = starts[legal], ends[legal]
        end = np.zeros(len(prefix), dtype=np.int64)
        end[starts] = ends
        return end, kind


def resampled_f1(counts: Sequence[Ints], *, seed: int, replicates: int = REPLICATES) -> Floats:
    """F1 in percent of resampled sentences: [seeds, replicates].

    `counts` has `SpanCounts.by_sentence()` for each seed, of the same sentences. The same `seed` draws the
    same sentences, so that two systems on one test set are paired.
    """
    stacked = np.stack(counts).astype(np.float64)
    sentences = stacked.shape[1]
    draws = np.random.default_rng(seed)
    result = np.empty((len(counts), replicates))
    for replicate in range(replicates):
        weights = np.bincount(draws.integers(sentences, size=sentences), minlength=sentences)
        matched, predicted, gold = np.einsum("s,nsc->cn", weights, stacked)
        result[:, replicate] = 200 * matched / np.maximum(predicted + gold, 1)
    return result


def _over_seeds(resampled: Floats, *, seed: int) -> Floats:
    """Mean over seeds drawn with replacement, for each replicate."""
    seeds, replicates = resampled.shape
    drawn = np.random.default_rng(seed).integers(seeds, size=(seeds, replicates))
    means: Floats = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
    return means


def _f1_of(counts: Ints) -> float:
    return rates(*(int(value) for value in counts.sum(axis=0))).f1


def interval(counts: Sequence[Ints], *, seed: int, replicates: int = REPLICATES) -> Interval:
    """Mean F1 over seeds and its joint seed-and-sentence 95 % bootstrap interval (percentiles)."""
    means = _over_seeds(resampled_f1(counts, seed=seed, replicates=replicates), seed=seed + 1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(np.mean([_f1_of(one) for one in counts])), float(low), float(high))


def difference(
    first: Sequence[Ints], second: Sequence[Ints], *, seed: int, replicates: int = REPLICATES
) -> Difference:
    """Paired bootstrap of mean F1 of `second` minus that of `first`: sentences shared, seeds drawn apart.

    Raises ValueError when the two were tested on different numbers of sentences.
    """
    if first[0].shape != second[0].shape:
        raise ValueError("a paired comparison needs the same test sentences")
    before = _over_seeds(resampled_f1(first, seed=seed, replicates=replicates), seed=seed + 1)
    after = _over_seeds(resampled_f1(second, seed=seed, replicates=replicates), seed=seed + 2)
    gap = after - before
    low, high = np.percentile(gap, [2.5, 97.5])
    tail = min(int((gap <= 0).sum()), int((gap >= 0).sum()))
    mean = np.mean([_f1_of(one) for one in second]) - np.mean([_f1_of(one) for one in first])
    return Difference(float(mean), float(low), float(high), min(1.0, 2 * (tail + 1) / (replicates + 1)))


def holm(values: Mapping[Any, float]) -> dict[Any, float]:
    """Holm's correction (1979) of several p values, by key."""
    ordered = sorted(values, key=lambda key: values[key])
    adjusted: dict[Any, float] = {}
    worst = 0.0
    for rank, key in enumerate(ordered):
        worst = max(worst, min(1.0, (len(ordered) - rank) * values[key]))
        adjusted[key] = worst
    return {key: adjusted[key] for key in values}
