"""Encoders against each other: paired by sentence, corrected for the number of languages, and averaged."""

from collections.abc import Mapping, Sequence
from typing import Any

from ner.results.cells import by_selection, ends, rounded, tags_sha256
from ner.results.outcomes import Outcome, TestSet
from ner.score import (
    Difference,
    Ints,
    average,
    count_spans,
    difference,
    difference_of,
    dominance,
    f1_of,
    holm,
    verdict,
)

Found = Mapping[str, Mapping[str, Sequence[Outcome]]]
"""By encoder, then test language."""


def differences(outcomes: Found, tests: Mapping[str, TestSet], *, seed: int) -> dict[str, dict[str, Any]]:
    """By language and encoder: paired difference in F1 from the first encoder.

    Each entry has `against`, `f1`, `ci95`, `p`, `p_holm` (over the languages), `noise` (0 lies within the
    interval), `identical` (the very same tags with every seed), `verdict` in words and, with five seeds or
    more a side, `aso`: the bound of almost stochastic order of the higher mean over the lower, its level
    divided by the number of languages.
    """
    first, *others = outcomes
    result: dict[str, dict[str, Any]] = {language: {} for language in tests}
    for encoder in others:
        raw: dict[str, float] = {}
        for language, test in tests.items():
            before, after = (_main(outcomes[name][language]) for name in (first, encoder))
            counts = _by_sentence(before, test), _by_sentence(after, test)
            gap = difference(*counts, seed=seed)
            raw[language] = gap.p
            same = [one.predicted for one in before] == [one.predicted for one in after]
            result[language][encoder] = {"against": first, **_told(gap), "identical": same}
            scores = [[f1_of(one) for one in some] for some in counts]
            if (bound := dominance(*scores, seed=seed, comparisons=len(tests))) is not None:
                result[language][encoder]["aso"] = bound
        for language, adjusted in holm(raw).items():
            entry = result[language][encoder]
            entry["p_holm"] = round(adjusted, 6)
            entry["verdict"] = verdict(entry)
    return result


def group_averages(
    outcomes: Found, tests: Mapping[str, TestSet], groups: Mapping[str, Sequence[str]], *, seed: int
) -> dict[str, Any]:
    """Unweighted means over languages, each with the list of its languages; groups with none are left out.

    By group: `languages`, `encoders{ENCODER{f1_mean, ci95}}` and `differences{ENCODER{against, f1, ci95, p,
    noise, verdict}}` from the first encoder. Languages are resampled apart, sentences within them paired.
    """
    result: dict[str, Any] = {}
    for name, wanted in groups.items():
        languages = [language for language in dict.fromkeys(wanted) if language in tests]
        if not languages:
            continue
        found = {
            encoder: average([_by_sentence(_main(cells[one]), tests[one]) for one in languages], seed=seed)
            for encoder, cells in outcomes.items()
        }
        first, *others = found
        told: dict[str, Any] = {}
        for encoder in others:
            gap = difference_of(
                found[encoder][0].mean - found[first][0].mean, found[encoder][1] - found[first][1]
            )
            told[encoder] = {"against": first, **_told(gap)}
            told[encoder]["verdict"] = verdict(told[encoder])
        result[name] = {
            "languages": languages,
            "encoders": {
                encoder: {"f1_mean": rounded(spread.mean), "ci95": ends(spread)}
                for encoder, (spread, _) in found.items()
            },
            "differences": told,
        }
    return result


def same_predictions(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    """W-SAME-PREDICTIONS for every two encoders that gave one set the very same tags with some seed."""
    owners: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        owners.setdefault((outcome.test, outcome.selection, tags_sha256(outcome)), []).append(outcome)
    warnings = []
    for (language, _, digest), some in owners.items():
        if len({outcome.encoder for outcome in some}) < 2:
            continue
        names = ", ".join(f"{outcome.encoder} seed {outcome.seed}" for outcome in some)
        why = "none predicts any entity" if some[0].nothing else f"tags sha256 {digest[:12]}"
        text = f"{language}: the very same predictions from {names} ({why})"
        warnings.append({"name": "W-SAME-PREDICTIONS", "text": text})
    return warnings


def _told(gap: Difference) -> dict[str, Any]:
    return {
        "f1": rounded(gap.mean),
        "ci95": [rounded(gap.low), rounded(gap.high)],
        "p": round(gap.p, 6),
        "noise": gap.noise,
    }


def _main(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return by_selection(outcomes)[0]


def _by_sentence(outcomes: Sequence[Outcome], test: TestSet) -> list[Ints]:
    return [count_spans(test.tags, one.predicted).by_sentence() for one in outcomes]
