"""From predictions to numbers: the content of results.json. F1 values in percent, rates from 0 to 1."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner.mistakes import KINDS, mistakes_of
from ner.score import Ints, SpanCounts, count_spans, difference, holm, interval
from ner.tags import OUTSIDE, TaggedSentence, illegal_transitions

CORE_TYPES = ("PER", "LOC", "ORG")
"""The types that NER sets share; a set with more gets a second score over these alone."""

COLLAPSED_BELOW = 5.0
"""F1 under which a head counts as collapsed (so does one that predicts no entity)."""


@dataclass(frozen=True)
class Outcome:
    """One head on one test set."""

    encoder: str
    train: str
    test: str
    seed: int
    predicted: tuple[tuple[str, ...], ...]
    dev_f1: float
    epochs: int


@dataclass(frozen=True)
class TestSet:
    """The gold side of outcomes, and what the encoder's tokenizer makes of its words."""

    __test__ = False

    sentences: tuple[TaggedSentence, ...]
    unk_rate: Mapping[str, float]
    fertility: Mapping[str, float]
    unknown_words: Mapping[str, frozenset[str]]

    @property
    def tags(self) -> tuple[tuple[str, ...], ...]:
        return tuple(sentence.tags for sentence in self.sentences)


def summarise(outcomes: Sequence[Outcome], test: TestSet, *, seed: int) -> dict[str, Any]:
    """One cell of the table: one encoder on one language, over its seeds. `seed` draws the intervals."""
    counts = [count_spans(test.tags, one.predicted) for one in outcomes]
    strict = [count_spans(test.tags, one.predicted, strict=True).total().f1 for one in outcomes]
    scores = [one.total().f1 for one in counts]
    spread = interval([one.by_sentence() for one in counts], seed=seed)
    encoder = outcomes[0].encoder
    collapsed = [
        score < COLLAPSED_BELOW or _nothing(one) for score, one in zip(scores, outcomes, strict=True)
    ]
    return {
        "f1_mean": _rounded(statistics.fmean(scores)),
        "f1_std": _rounded(statistics.stdev(scores) if len(scores) > 1 else 0.0),
        "f1": [_rounded(score) for score in scores],
        "ci95": [_rounded(spread.low), _rounded(spread.high)],
        "strict_f1_mean": _rounded(statistics.fmean(strict)),
        "illegal": sum(illegal_transitions(tags) for one in outcomes for tags in one.predicted),
        "unk_rate": round(test.unk_rate[encoder], 6),
        "fertility": round(test.fertility[encoder], 6),
        "per_type": _per_type(counts),
        **_core(counts, seed=seed),
        "collapsed": sum(collapsed),
        "errors": _error_kinds(outcomes[0], test),
        "trained_on": outcomes[0].train,
        "dev_f1": [_rounded(one.dev_f1) for one in outcomes],
        "epochs": [one.epochs for one in outcomes],
    }


def _nothing(outcome: Outcome) -> bool:
    return all(tag == OUTSIDE for tags in outcome.predicted for tag in tags)


def _rounded(percent: float) -> float:
    return round(percent, 4)


def _per_type(counts: Sequence[SpanCounts]) -> dict[str, dict[str, float]]:
    labels = sorted({label for one in counts for label in one.labels})
    result: dict[str, dict[str, float]] = {}
    for label in labels:
        rates = [one.per_type()[label] for one in counts if label in one.labels]
        missing = len(counts) - len(rates)  # a type that neither gold nor this seed has: zeros
        result[label] = {
            name: _rounded(sum(getattr(rate, name) for rate in rates) / (len(rates) + missing))
            for name in ("precision", "recall", "f1")
        } | {"support": max(one.support().get(label, 0) for one in counts)}
    return result


def _core(counts: Sequence[SpanCounts], *, seed: int) -> dict[str, Any]:
    """`core`: the score over PER, LOC and ORG alone, of the same heads, where a set has other types too."""
    labels = {label for one in counts for label in one.labels}
    if labels <= set(CORE_TYPES) or not labels & set(CORE_TYPES):
        return {}
    kept = [one.only(CORE_TYPES) for one in counts]
    scores = [one.total().f1 for one in kept]
    spread = interval([one.by_sentence() for one in kept], seed=seed)
    return {
        "core": {
            "types": [label for label in CORE_TYPES if label in labels],
            "f1_mean": _rounded(statistics.fmean(scores)),
            "f1": [_rounded(score) for score in scores],
            "ci95": [_rounded(spread.low), _rounded(spread.high)],
        }
    }


def _error_kinds(outcome: Outcome, test: TestSet) -> dict[str, int]:
    kinds = Counter(
        mistake.kind
        for gold, predicted in zip(test.tags, outcome.predicted, strict=True)
        for mistake in mistakes_of(gold, predicted)
    )
    return {kind: kinds[kind] for kind in KINDS}


def differences(
    outcomes: Mapping[str, Mapping[str, Sequence[Outcome]]], tests: Mapping[str, TestSet], *, seed: int
) -> dict[str, dict[str, Any]]:
    """By language and encoder: paired difference in F1 from the first encoder.

    `outcomes` is by encoder, then language. Each entry has `f1`, `ci95`, `p`, `p_holm` (over the languages),
    `noise` (0 lies within the interval) and `identical` (the very same tags with every seed).
    """
    first, *others = outcomes
    result: dict[str, dict[str, Any]] = {language: {} for language in tests}
    for encoder in others:
        raw: dict[str, float] = {}
        for language, test in tests.items():
            before, after = outcomes[first][language], outcomes[encoder][language]
            gap = difference(_by_sentence(before, test), _by_sentence(after, test), seed=seed)
            raw[language] = gap.p
            result[language][encoder] = {
                "against": first,
                "f1": _rounded(gap.mean),
                "ci95": [_rounded(gap.low), _rounded(gap.high)],
                "p": round(gap.p, 6),
                "noise": gap.noise,
                "identical": [one.predicted for one in before] == [one.predicted for one in after],
            }
        for language, adjusted in holm(raw).items():
            result[language][encoder]["p_holm"] = round(adjusted, 6)
    return result


def _by_sentence(outcomes: Sequence[Outcome], test: TestSet) -> list[Ints]:
    return [count_spans(test.tags, one.predicted).by_sentence() for one in outcomes]
