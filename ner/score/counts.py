"""Counts of spans by sentence and type, and the rates that follow from them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ner.score.encoding import Codes, EncodedTags, Flags, Ints, Spans, encode
from ner.tags import Scheme, may_follow


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
        return {label: rates(*counts) for label, counts in self.sums().items()}

    def sums(self) -> dict[str, tuple[int, int, int]]:
        """By type: matched, predicted and gold spans of all sentences."""
        columns = (counts.sum(axis=0).tolist() for counts in (self.matched, self.predicted, self.gold))
        return dict(zip(self.labels, zip(*columns, strict=True), strict=True))

    def support(self) -> dict[str, int]:
        return {label: gold for label, (_, _, gold) in self.sums().items()}

    def only(self, labels: Collection[str]) -> "SpanCounts":
        """The counts of these types alone."""
        kept = [index for index, label in enumerate(self.labels) if label in labels]
        names = tuple(self.labels[index] for index in kept)
        return SpanCounts(names, self.matched[:, kept], self.predicted[:, kept], self.gold[:, kept])

    def by_sentence(self) -> Ints:
        """[sentences, 3]: matched, predicted, gold over all types."""
        return np.stack([self.matched.sum(1), self.predicted.sum(1), self.gold.sum(1)], axis=1)


@dataclass(frozen=True, slots=True)
class Lenient:
    """Scores that forgive. No span counts twice: each is paired with at most one of the other side.

    `span`: the same words, of whatever type. `overlap`: the same type and a word in common. `partial`: of
    whatever type, 1 for the same words and 1/2 for a word in common (`partial` of SemEval-2013 task 9).
    """

    span: Rates
    overlap: Rates
    partial: Rates


@dataclass(frozen=True)
class TagPair:
    """Gold and predicted tags of the same words, encoded once for every way of scoring them."""

    labels: tuple[str, ...]
    sentence: Codes
    gold: EncodedTags
    predicted: EncodedTags

    @classmethod
    def of(
        cls,
        gold: Sequence[Sequence[str]],
        predicted: Sequence[Sequence[str]],
        *,
        scheme: Scheme | tuple[Scheme, Scheme] = Scheme.IOB2,
    ) -> "TagPair":
        """`scheme` is that of both, or one a side.

        Raises ValueError when the two differ in sentences or words, or a tag is not one of its scheme.
        """
        schemes = (scheme, scheme) if isinstance(scheme, Scheme) else scheme
        first, second, labels, sentence = encode(gold, predicted, schemes)
        return cls(labels, sentence, first, second)

    @property
    def sentences(self) -> int:
        return int(self.sentence[-1]) + 1 if len(self.sentence) else 0

    @property
    def words(self) -> int:
        return len(self.sentence) - self.sentences

    def counts(self, *, strict: bool = False) -> SpanCounts:
        """Illegal tags are repaired as conlleval does or, with `strict`, discarded on both sides."""
        gold, predicted = self._spans(strict=strict)
        right = self._same_words(gold, predicted)[1] == gold.kind
        return SpanCounts(
            labels=self.labels,
            matched=self._tally(gold.start[right], gold.kind[right]),
            predicted=self._tally(predicted.start, predicted.kind),
            gold=self._tally(gold.start, gold.kind),
        )

    def lenient(self) -> Lenient:
        """Of repaired tags."""
        gold, predicted = self._spans(strict=False)
        same, kind = self._same_words(gold, predicted)
        right = int((kind == gold.kind).sum())
        mine, theirs = self._overlaps(gold, predicted)
        typed = gold.kind[mine] == predicted.kind[theirs]
        sizes = len(predicted.start), len(gold.start)
        part = pairs_without_sharing(mine, theirs)
        return Lenient(
            span=rates(int(same.sum()), *sizes),
            overlap=rates(right + pairs_without_sharing(mine[typed], theirs[typed]), *sizes),
            partial=rates(int(same.sum()) + part / 2, *sizes),
        )

    def illegal(self) -> int:
        """How many predicted tags may not stand where they stand (after the tag before, or at the end)."""
        found = self.predicted.transitions()
        scheme = self.predicted.scheme
        return sum(times for pair, times in found.items() if not may_follow(*pair, scheme=scheme))

    def _spans(self, *, strict: bool) -> tuple[Spans, Spans]:
        return self.gold.spans(strict=strict), self.predicted.spans(strict=strict)

    def _same_words(self, gold: Spans, predicted: Spans) -> tuple[Flags, Codes]:
        """For each gold span: whether one of the same words was predicted, and that one's type (else -2)."""
        end = np.zeros(len(self.sentence) + 1, dtype=np.int32)
        kind = np.full(len(self.sentence) + 1, -2, dtype=np.int32)
        end[predicted.start], kind[predicted.start] = predicted.end, predicted.kind
        same = end[gold.start] == gold.end
        return same, np.where(same, kind[gold.start], -2)

    def _overlaps(self, gold: Spans, predicted: Spans) -> tuple[Ints, Ints]:
        """Pairs that share some words but not all: index of the gold span, index of the predicted one."""
        places = len(self.sentence) + 1
        started, ended = np.zeros(places, dtype=np.int64), np.zeros(places, dtype=np.int64)
        started[predicted.start + 1], ended[predicted.end] = 1, 1
        first, last = np.cumsum(ended)[gold.start], np.cumsum(started)[gold.end]
        many = last - first
        mine = np.repeat(np.arange(len(gold.start)), many)
        theirs = np.arange(len(mine)) - np.repeat(np.cumsum(many) - many, many) + np.repeat(first, many)
        part = (gold.start[mine] != predicted.start[theirs]) | (gold.end[mine] != predicted.end[theirs])
        return mine[part], theirs[part]

    def _tally(self, places: Codes, kinds: Codes) -> Ints:
        shape = self.sentences, len(self.labels)
        cells = self.sentence[places].astype(np.int64) * shape[1] + kinds
        return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def pairs_without_sharing(mine: Ints, theirs: Ints) -> int:
    """The most pairs that can be chosen with no index in two of them.

    Both arrays ascend (spans of a side do not overlap, so pairs do not cross): then the earliest pair that
    is left always belongs to a best choice. Each round takes every pair with no earlier rival.
    """
    chosen = 0
    while len(mine):
        free = np.ones(len(mine), dtype=bool)
        free[1:] = (mine[1:] != mine[:-1]) & (theirs[1:] != theirs[:-1])
        chosen += int(free.sum())
        left = ~(_in(mine[free], mine) | _in(theirs[free], theirs))
        mine, theirs = mine[left], theirs[left]
    return chosen


def _in(some: Ints, ascending: Ints) -> Flags:
    """Which of `ascending` are among `some` of them."""
    flags = np.zeros(int(ascending[-1]) + 1, dtype=bool)
    flags[some] = True
    return flags[ascending]


def rates(matched: float, predicted: int, gold: int) -> Rates:
    """Precision, recall and F1 in percent of span counts; 0 where there is nothing to divide by."""
    precision = 100 * matched / predicted if predicted else 0.0
    recall = 100 * matched / gold if gold else 0.0
    return Rates(precision, recall, 100 * 2 * matched / (predicted + gold) if predicted + gold else 0.0)


def count_spans(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    strict: bool = False,
    scheme: Scheme = Scheme.IOB2,
) -> SpanCounts:
    """Compare tags, illegal ones repaired as conlleval does or, with `strict`, discarded.

    Raises ValueError when the two differ in sentences or words, or a tag is not one of the scheme.
    """
    return TagPair.of(gold, predicted, scheme=scheme).counts(strict=strict)
