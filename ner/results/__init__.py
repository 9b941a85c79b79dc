"""From predictions to numbers: the content of results.json. F1 values in percent, rates from 0 to 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from ner.results.cells import summarise as summarise
from ner.results.comparing import differences as differences
from ner.results.comparing import group_averages as group_averages
from ner.results.comparing import same_predictions as same_predictions
from ner.results.outcomes import Outcome as Outcome
from ner.results.outcomes import Seen as Seen
from ner.results.outcomes import TestSet as TestSet
from ner.results.strata import SpanRows as SpanRows
from ner.results.words import token_statistics as token_statistics


def scored(
    outcomes: Sequence[Outcome],
    tests: Mapping[str, TestSet],
    *,
    seed: int,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Everything of results.json that follows from predictions.

    Args:
        outcomes: in any order of encoders, languages, selections and seeds; the first encoder is the one the
            others are compared with, the first selection the one that is scored.
        tests: by language, every language of `outcomes`.
        seed: draws the intervals.
        groups: by name, the languages averaged over; `{"all": [...]}` by default, of more than one language.

    Returns:
        `encoders{ENCODER{LANGUAGE}}`, `differences{LANGUAGE{ENCODER}}`, `groups{NAME}`, `tokens{LANGUAGE}`
        and `warnings` (W-SAME-PREDICTIONS, W-COLLAPSED, W-ONE-SEED).
    """
    found: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.encoder, {}).setdefault(outcome.test, []).append(outcome)
    cells = {
        encoder: {
            language: summarise(mine, tests[language], seed=seed) for language, mine in languages.items()
        }
        for encoder, languages in found.items()
    }
    wanted = groups if groups is not None else {"all": list(tests)} if len(tests) > 1 else {}
    return {
        "encoders": cells,
        "differences": differences(found, tests, seed=seed),
        "groups": group_averages(found, tests, wanted, seed=seed),
        "tokens": token_statistics(tests),
        "warnings": [*same_predictions(outcomes), *_cautions(cells)],
    }


def _cautions(cells: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    warnings = []
    for encoder, languages in cells.items():
        for language, cell in languages.items():
            if cell["collapsed"]:
                seeds = ", ".join(map(str, cell["collapsed_seeds"]))
                text = f"{encoder} on {language}: collapsed with seed {seeds} (F1 under 5, or no entity)"
                warnings.append({"name": "W-COLLAPSED", "text": text})
    if single := [name for name, some in cells.items() if any(len(one["f1"]) == 1 for one in some.values())]:
        text = f"one seed only, how much seeds differ is not known: {', '.join(single)}"
        warnings.append({"name": "W-ONE-SEED", "text": text})
    return warnings
