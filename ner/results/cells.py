"""One cell of the table: one encoder on one language over its seeds. F1 in percent, rates from 0 to 1."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ner.mistakes import KINDS, error_summary, mistakes_of
from ner.results.outcomes import Outcome, TestSet
from ner.results.strata import TRAITS, SpanRows, Stratum, span_rows, strata_of
from ner.score import Interval, Ints, Lenient, SpanCounts, TagPair, f1_of, intervals, rates

CORE_TYPES = ("PER", "LOC", "ORG")
"""The types that NER sets share; a set with more gets a second score over these alone."""

COLLAPSED_BELOW = 5.0
"""F1 under which a head counts as collapsed (so does one that predicts no entity)."""


def summarise(outcomes: Sequence[Outcome], test: TestSet, *, seed: int) -> dict[str, Any]:
    """One encoder on one language. `seed` draws the intervals.

    The outcomes of the first selection are the score; each other selection gets an entry in `selections`.
    """
    main, others = by_selection(outcomes)
    pairs = [TagPair.of(test.tags, one.predicted) for one in main]
    counts = [pair.counts() for pair in pairs]
    types = sorted({label for one in counts for label in one.labels})
    rows = [span_rows(one, test, types) for one in main]
    strata = strata_of(main[0], test)
    groups = [
        [one.by_sentence() for one in counts],
        *([row.of(stratum) for row in rows] for stratum in strata),
    ]
    core = _core_counts(counts)
    spreads = intervals([*groups, [one.by_sentence() for one in core]] if core else groups, seed=seed)
    scores = [one.total().f1 for one in counts]
    encoder = main[0].encoder
    return {
        **_over_seeds(scores, spreads[0]),
        **_policies(pairs),
        "unk_rate": round(test.unk_rate[encoder], 6),
        "fertility": round(test.fertility[encoder], 6),
        "per_type": _per_type(counts),
        **(_core(core, spreads[-1]) if core else {}),
        **_collapsed(main, scores),
        **_errors(main, test, counts),
        "strata": {
            stratum.name: _stratum(stratum, rows, spread)
            for stratum, spread in zip(strata, spreads[1:], strict=False)
        },
        "trained_on": main[0].train,
        "selection": main[0].selection,
        **(
            {"selections": {name: _selection(some, test, seed) for name, some in others.items()}}
            if others
            else {}
        ),
        "seeds": [one.seed for one in main],
        "dev_f1": [rounded(one.dev_f1) for one in main],
        "epochs": [one.epochs for one in main],
        "predictions_sha256": [tags_sha256(one) for one in main],
        "counts": {
            "sentences": len(test.sentences),
            "types": types,
            "traits": dict(TRAITS),
            "seeds": [row.as_json() for row in rows],
        },
    }


def by_selection(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], dict[str, list[Outcome]]]:
    """The outcomes of the first selection, and the others by theirs."""
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.selection, []).append(outcome)
    first, *others = found
    return found[first], {name: found[name] for name in others}


def tags_sha256(outcome: Outcome) -> str:
    """Of the predicted tags alone, so that equal predictions of two systems are seen."""
    text = "\n".join(" ".join(tags) for tags in outcome.predicted)
    return hashlib.sha256(text.encode()).hexdigest()


def rounded(percent: float) -> float:
    """As it is written: to a hundredth of a point."""
    return round(percent, 4)


def ends(spread: Interval) -> list[float]:
    """The interval as it is written."""
    return [rounded(spread.low), rounded(spread.high)]


def _over_seeds(scores: Sequence[float], spread: Interval) -> dict[str, Any]:
    return {
        "f1_mean": rounded(statistics.fmean(scores)),
        "f1_std": rounded(statistics.stdev(scores) if len(scores) > 1 else 0.0),
        "f1_median": rounded(statistics.median(scores)),
        "f1": [rounded(score) for score in scores],
        "ci95": ends(spread),
    }


def _selection(outcomes: Sequence[Outcome], test: TestSet, seed: int) -> dict[str, Any]:
    counts = [TagPair.of(test.tags, one.predicted).counts() for one in outcomes]
    (spread,) = intervals([[one.by_sentence() for one in counts]], seed=seed)
    return _over_seeds([one.total().f1 for one in counts], spread)


def _policies(pairs: Sequence[TagPair]) -> dict[str, Any]:
    """The other ways of scoring the same tags: strict, and those that forgive."""
    strict = [pair.counts(strict=True).total().f1 for pair in pairs]
    lenient = [pair.lenient() for pair in pairs]
    return {
        "strict_f1_mean": rounded(statistics.fmean(strict)),
        "strict_f1": [rounded(score) for score in strict],
        "lenient": {
            f"{name}_f1_mean": rounded(statistics.fmean(getattr(one, name).f1 for one in lenient))
            for name in Lenient.__dataclass_fields__
        },
        "illegal": sum(pair.illegal() for pair in pairs),
    }


def _collapsed(outcomes: Sequence[Outcome], scores: Sequence[float]) -> dict[str, Any]:
    seeds = [
        one.seed
        for one, score in zip(outcomes, scores, strict=True)
        if score < COLLAPSED_BELOW or one.nothing
    ]
    return {"collapsed": len(seeds), "collapsed_seeds": seeds}


def _per_type(counts: Sequence[SpanCounts]) -> dict[str, dict[str, float]]:
    labels = sorted({label for one in counts for label in one.labels})
    result: dict[str, dict[str, float]] = {}
    for label in labels:
        found = [one.per_type()[label] for one in counts if label in one.labels]
        missing = len(counts) - len(found)  # a type that neither gold nor this seed has: zeros
        result[label] = {
            name: rounded(sum(getattr(rate, name) for rate in found) / (len(found) + missing))
            for name in ("precision", "recall", "f1")
        } | {"support": max(one.support().get(label, 0) for one in counts)}
    return result


def _core_counts(counts: Sequence[SpanCounts]) -> list[SpanCounts]:
    labels = {label for one in counts for label in one.labels}
    if labels <= set(CORE_TYPES) or not labels & set(CORE_TYPES):
        return []
    return [one.only(CORE_TYPES) for one in counts]


def _core(kept: Sequence[SpanCounts], spread: Interval) -> dict[str, Any]:
    """`core`: the score over PER, LOC and ORG alone, of the same heads, where a set has other types too."""
    scores = [one.total().f1 for one in kept]
    labels = {label for one in kept for label in one.labels}
    return {
        "core": {
            "types": [label for label in CORE_TYPES if label in labels],
            "f1_mean": rounded(statistics.fmean(scores)),
            "f1": [rounded(score) for score in scores],
            "ci95": ends(spread),
        }
    }


def _stratum(stratum: Stratum, rows: Sequence[SpanRows], spread: Interval) -> dict[str, Any]:
    """Rates are means over seeds; `support` is the number of gold entities, counts are one a seed."""
    counts: list[Ints] = [row.of(stratum).sum(axis=0) for row in rows]
    found = [rates(*(int(value) for value in one)) for one in counts]
    return {
        "precision": rounded(statistics.fmean(one.precision for one in found)),
        "recall": rounded(statistics.fmean(one.recall for one in found)),
        "f1_mean": rounded(statistics.fmean(f1_of(one[None, :]) for one in counts)),
        "ci95": ends(spread),
        "support": int(counts[0][2]),
        "tp": [int(one[0]) for one in counts],
        "fp": [int(one[1] - one[0]) for one in counts],
        "fn": [int(one[2] - one[0]) for one in counts],
    }


def _errors(outcomes: Sequence[Outcome], test: TestSet, counts: Sequence[SpanCounts]) -> dict[str, Any]:
    """`errors` of the first seed, `error_shares` and `confusion` of all seeds."""
    mistakes = [
        [
            mistake
            for gold, predicted in zip(test.tags, one.predicted, strict=True)
            for mistake in mistakes_of(gold, predicted)
        ]
        for one in outcomes
    ]
    kinds = Counter(mistake.kind for mistake in mistakes[0])
    right: Counter[str] = Counter()
    for one in counts:
        right.update({label: matched for label, (matched, _, _) in one.sums().items()})
    return {
        "errors": {kind: kinds[kind] for kind in KINDS},
        **error_summary(right, [mistake for some in mistakes for mistake in some]),
    }
